// One's own orders, newest first.

import { h } from "../dom.js";
import { clock, money, when } from "../format.js";
import { href } from "../routes.js";
import { msUntil, ordersNewestFirst } from "../select.js";
import { orderStatusText, problemText, reasonText } from "../words.js";
import { heading } from "./heading.js";
import { button, waitingFor } from "./parts.js";
import { cancelButton } from "./settle.js";

export function ordersView(state, act) {
  const orders = ordersNewestFirst(state);
  const ready = state.loads.orders?.ready;
  return [
    heading("My orders"),
    !ready && orders.length === 0 && waitingFor({ orders: state.loads.orders }, act.retryLoad),
    ready && orders.length === 0 && h("div", { class: "blank", key: "none" },
      h("p", null, "You have not ordered anything yet."), h("a", { class: "button primary", href: "#/" }, "See what is on sale")),
    orders.length > 0 && h("ul", { class: "orders", key: "orders" }, orders.map((order) => orderRow(state, act, order))),
    state.orders.next !== null && h("p", { class: "more", key: "more" },
      button("Show older orders", { onclick: act.moreOrders, busy: state.forms.more?.busy })),
  ];
}

function orderRow(state, act, order) {
  const item = state.items.byId[order.item_id];
  const name = item?.title ?? `Item ${order.item_id}`;
  const target = order.promo_id ? { name: "promo", id: order.promo_id } : { name: "item", id: order.item_id };
  const form = state.forms[`order:${order.order_id}`];
  return h("li", { class: "order", key: order.order_id, "data-order": order.order_id },
    h("div", { class: "order-head" },
      h("h2", null, h("a", { href: href(target) }, name)),
      h("p", { class: `chip ${order.status}`, "data-status": order.status }, orderStatusText(order.status))),
    h("p", { class: "small-print" },
      h("span", null, when(order.created_at)),
      h("span", null, `${order.quantity} × ${money(order.price_minor, order.currency)}`),
      h("strong", null, money(order.total_minor, order.currency))),
    order.status === "rejected" && h("p", { class: "muted" }, reasonText(order.reason)),
    form?.problem && h("p", { class: "field-error", role: "alert" }, problemText(form.problem)),
    order.status === "awaiting_payment" && openOrder(state, act, order, form));
}

function openOrder(state, act, order, form) {
  const left = order.pay_before ? msUntil(state, order.pay_before) : null;
  return h("div", { class: "row" },
    button(left === null ? "Pay now" : `Pay now · ${clock(left)} left`, {
      kind: "primary", busy: form?.busy, off: left === 0, onclick: () => act.pay(order.order_id),
    }),
    cancelButton(state, act, order));
}
