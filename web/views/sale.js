// The front of the shop: what is on sale, what will be, what is there at list price.

import { h } from "../dom.js";
import { number, when } from "../format.js";
import { href } from "../routes.js";
import { livePromo, msUntil } from "../select.js";
import { promoStatusText } from "../words.js";
import { heading } from "./heading.js";
import { button, countdown, picture, prices, stockMeter, waitingFor } from "./parts.js";

export function saleView(state, act) {
  const items = state.items.ids.map((id) => state.items.byId[id]);
  const sales = items.filter((item) => currentPromo(state, item)).sort(byOpening(state));
  const shelf = items.filter((item) => !currentPromo(state, item));
  const past = state.promos.ids.map((id) => livePromo(state, id)).filter((promo) => promo.status === "ended");
  return [
    h("div", { class: "hero", key: "hero" },
      heading("Flash sales, without the panic"),
      h("p", { class: "lede" }, "Join before the start and you are drawn at random with everybody else. Then wait your turn, see how many units are left, and buy in peace.")),
    !state.loads.items?.ready && waitingFor({ items: state.loads.items }, act.retryLoad),
    state.loads.items?.ready && items.length === 0 && emptyShop(state),
    sales.length > 0 && h("section", { "aria-labelledby": "sales-title", key: "sales" },
      h("h2", { id: "sales-title" }, "On sale"),
      h("ul", { class: `cards ${sales.length === 1 ? "single" : ""}` }, sales.map((item) => saleCard(state, item)))),
    shelf.length > 0 && h("section", { "aria-labelledby": "shelf-title", key: "shelf" },
      h("h2", { id: "shelf-title" }, "At list price"),
      h("ul", { class: "cards small" }, shelf.map(shelfCard))),
    state.items.next !== null && h("p", { class: "more", key: "more" },
      button("Show more", { onclick: act.moreItems, busy: state.forms.more?.busy })),
    past.length > 0 && pastSales(state, past),
  ];
}

function emptyShop({ session }) {
  return h("div", { class: "blank", key: "empty" },
    h("p", null, "Nothing is on sale yet."),
    session?.user.role === "admin" && h("a", { class: "button primary", href: "#/admin" }, "Put something on sale"));
}

function currentPromo(state, item) {
  const promo = item.promo && livePromo(state, item.promo.id);
  return promo && promo.status !== "ended" && promo.status !== "draft" ? promo : null;
}

const STATUS_ORDER = { ongoing: 0, paused: 1, scheduled: 2 };

const byOpening = (state) => (a, b) => {
  const [p, q] = [currentPromo(state, a), currentPromo(state, b)];
  return STATUS_ORDER[p.status] - STATUS_ORDER[q.status] || Date.parse(p.starts_at) - Date.parse(q.starts_at) || p.id - q.id;
};

function saleCard(state, item) {
  const promo = currentPromo(state, item);
  const queue = state.queues[promo.id];
  const waiting = promo.status === "scheduled" ? queue?.lobby : queue?.waiting;
  return h("li", { class: "card", key: item.id },
    picture(item.image_url),
    h("div", { class: "card-body" },
      h("p", { class: `chip ${promo.status}` }, promoStatusText(promo.status)),
      h("h3", null, h("a", { href: href({ name: "promo", id: promo.id }), class: "cover" }, promo.title || item.title)),
      prices({ list: item.price_minor, flash: promo.price_minor, currency: promo.currency }),
      stockMeter(promo.available, promo.stock),
      h("p", { class: "small-print" },
        h("span", null, `${number(promo.available)} of ${number(promo.stock)} left`),
        waiting > 0 && h("span", null, `${number(waiting)} waiting`)),
      cardClock(state, promo)));
}

function cardClock(state, promo) {
  const place = state.places[promo.id];
  const mine = { lobby: "You are in the lobby", queued: "You are in the queue", admitted: "It's your turn", confirmed: "You got it" }[place?.phase];
  const [label, at] = promo.status === "scheduled" ? ["Opens in", promo.starts_at] : ["Ends in", promo.ends_at];
  return h("p", { class: "card-clock" },
    promo.status === "paused" ? h("span", null, "Back soon") : h("span", null, label, " ", countdown(msUntil(state, at))),
    mine && h("strong", { class: "mine" }, mine));
}

function shelfCard(item) {
  return h("li", { class: "card", key: item.id },
    picture(item.image_url),
    h("div", { class: "card-body" },
      h("h3", null, h("a", { href: href({ name: "item", id: item.id }), class: "cover" }, item.title)),
      prices({ list: item.price_minor, currency: item.currency }),
      h("p", { class: "small-print" }, h("span", null, item.available > 0 ? `${number(item.available)} in stock` : "Sold out"))));
}

function pastSales(state, past) {
  return h("section", { "aria-labelledby": "past-title", key: "past" },
    h("h2", { id: "past-title" }, "Past sales"),
    h("ul", { class: "lines" }, past.map((promo) => h("li", { key: promo.id },
      h("a", { href: href({ name: "promo", id: promo.id }) }, promo.title),
      h("span", { class: "muted" }, `ended ${when(promo.ends_at)}`),
      h("a", { href: href({ name: "draw", id: promo.id }) }, h("span", null, "Check the draw"), h("span", { class: "unseen" }, ` of ${promo.title}`))))));
}
