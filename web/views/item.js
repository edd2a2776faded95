// An item outside any sale: list price, no waiting room, the same way to a paid order.

import { h } from "../dom.js";
import { money, number } from "../format.js";
import { href } from "../routes.js";
import { livePromo, requestFor } from "../select.js";
import { reasonText } from "../words.js";
import { heading } from "./heading.js";
import { link, picture, prices, waitingFor } from "./parts.js";
import { answer, quantityChoice } from "./room.js";
import { paidPanel, payPanel, pendingPanel } from "./settle.js";
import { button } from "./parts.js";

export function itemView(state, act) {
  const { id } = state.route;
  const item = state.items.byId[id];
  if (!item) return [heading("Item"), waitingFor({ [`item:${id}`]: state.loads[`item:${id}`] }, act.retryLoad)];
  return h("div", { class: "detail" },
    h("div", { class: "detail-head" },
      h("p", { class: "chip" }, "List price"),
      heading(item.title),
      prices({ list: item.price_minor, currency: item.currency })),
    h("section", { class: "room", "aria-label": "Buy" }, counter(state, act, item)),
    picture(item.image_url, item.title, { key: "picture" }),
    h("section", { class: "about", "aria-labelledby": "about-title", key: "about" },
      h("h2", { id: "about-title" }, "About this item"),
      h("p", null, item.description || "No description yet.")));
}

function counter(state, act, item) {
  const request = requestFor(state, { item_id: item.id });
  const order = request?.order_id && state.orders.byId[request.order_id];
  const panel = order ? ORDERED[order.status] : null;
  const key = panel ? order.status : "shelf";
  return h("div", { class: "panel", key, "data-phase": key }, panel ? panel(state, act, item, order, request) : shelf(state, act, item, request));
}

const ORDERED = {
  pending: pendingPanel,
  awaiting_payment: (state, act, item, order) => payPanel(state, act, { currency: item.currency, ...order }),
  paid: (state, act, item, order, request) => [paidPanel(state, order), buyAgain(act, request)],
  expired: (state, act, item, order, request) => story("Your order has lapsed", "It was not paid in time. Nothing was charged.", act, request),
  cancelled: (state, act, item, order, request) => story("Your order is cancelled", "Nothing was charged.", act, request),
  rejected: (state, act, item, order, request) => story("Your order was not possible", `${reasonText(order.reason)} Nothing was charged.`, act, request),
};

function story(title, text, act, request) {
  return [h("h2", { tabindex: "-1", "data-focus": true, key: "title" }, title), h("p", { key: "text" }, text), buyAgain(act, request)];
}

const buyAgain = (act, request) => button("Order again", { key: "again", onclick: () => act.dismiss(request.request_id) });

function shelf(state, act, item, request) {
  const promo = item.promo && livePromo(state, item.promo.id);
  const ongoing = promo?.status === "ongoing" || promo?.status === "paused";
  if (ongoing) {
    return [
      h("h2", { key: "title" }, "This item is on sale right now"),
      h("p", { key: "text" }, `It costs ${money(promo.price_minor, promo.currency)} while the sale lasts, and is sold through its waiting room.`),
      link("Go to the sale", href({ name: "promo", id: promo.id }), "button primary big-button"),
    ];
  }
  const sending = request?.status === "sending";
  return [
    h("h2", { tabindex: "-1", "data-focus": true, key: "title" }, item.available > 0 ? "In stock" : "Sold out"),
    h("p", { key: "stock" }, item.available > 0 ? `${number(item.available)} left, no waiting.` : "Nothing left at the moment."),
    promo?.status === "scheduled" && h("p", { key: "soon" }, "Cheaper soon: ", link("see the coming sale", href({ name: "promo", id: promo.id }))),
    answer(state, request),
    !state.session && link("Log in to buy", "#/login", "button primary big-button"),
    state.session && item.available > 0 && h("form", { class: "buy", key: "buy", onsubmit: (event) => {
      event.preventDefault();
      if (!sending) act.order({ item_id: item.id }, Number(new FormData(event.currentTarget).get("quantity") ?? 1));
    } },
      quantityChoice("item", Math.min(item.available, 10)),
      h("button", { type: "submit", class: "button primary big-button", "data-buy": true, "aria-disabled": sending ? "true" : undefined },
        sending ? "Sending your order…" : "Order now")),
    h("p", { class: "muted", key: "note" }, "You pay in the next step."),
  ];
}
