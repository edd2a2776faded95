// From an accepted order to a paid one: the same three panels for sales and for list-price orders.

import { h } from "../dom.js";
import { money, spoken } from "../format.js";
import { msUntil } from "../select.js";
import { problemText } from "../words.js";
import { button, countdown, link, meter, twice } from "./parts.js";

const title = (text) => h("h2", { tabindex: "-1", "data-focus": true, key: "title" }, text);

export function pendingPanel() {
  return [
    title("Confirming your order"),
    h("p", { class: "spinner-line", key: "spin" }, h("span", { class: "spinner", "aria-hidden": "true" }), "Your unit is set aside and your order is written down safely."),
    h("p", { class: "muted", key: "note" }, "You will see the result here in a moment. There is nothing to click, and nothing is lost if the connection drops."),
  ];
}

export function totalOf(order) {
  return order.total_minor ?? (order.price_minor === undefined ? undefined : order.price_minor * (order.quantity ?? 1));
}

export function payPanel(state, act, order) {
  const left = order.pay_before ? msUntil(state, order.pay_before) : null;
  const total = totalOf(order);
  const form = state.forms[`order:${order.order_id}`];
  return [
    title("It's yours"),
    h("p", { class: "label", key: "label" }, left === 0 ? "The time to pay is over" : "Pay within"),
    left !== null && countdown(left, "big count"),
    left !== null && order.payment_window_ms > 0 && meter({ value: left / order.payment_window_ms, label: "Time left to pay", text: spoken(left), kind: "time" }),
    form?.problem && h("p", { class: "strip warn", role: "alert", key: "problem" }, problemText(form.problem)),
    button(total === undefined ? "Pay now" : `Pay ${money(total, order.currency)} now`, {
      kind: "primary big-button", key: "pay", "data-pay": true, busy: form?.busy, off: left === 0, onclick: () => act.pay(order.order_id),
    }),
    h("p", { class: "muted", key: "note" }, left === 0
      ? "Waiting for the shop's word on this order."
      : "An order that is not paid in time lapses, and its unit goes to the next person in line."),
    cancelButton(state, act, order),
  ];
}

export function cancelButton(state, act, order) {
  return twice({
    state, act, id: `cancel:${order.order_id}`, label: "Cancel the order",
    question: "Cancel this order? The unit goes to the next person.",
    yes: "Yes, cancel it", no: "Keep it", onyes: () => act.cancel(order.order_id),
  });
}

export function paidPanel(state, order) {
  const total = totalOf(order);
  return [
    h("span", { class: "tick", "aria-hidden": "true", key: "tick" }),
    title("Paid. Thank you!"),
    h("p", { key: "paid" }, total === undefined ? "Your order is complete." : `${money(total, order.currency)} paid. Your order is complete.`),
    h("div", { class: "row", key: "links" }, link("My orders", "#/orders", "button plain"), link("Other sales", "#/", "button plain")),
  ];
}
