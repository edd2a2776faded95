// One sale: the product on one side, the waiting room on the other.

import { h } from "../dom.js";
import { plural, roughly, when } from "../format.js";
import { href } from "../routes.js";
import { itemOfPromo, livePromo } from "../select.js";
import { promoStatusText } from "../words.js";
import { heading } from "./heading.js";
import { picture, prices, waitingFor } from "./parts.js";
import { room } from "./room.js";

export function promoView(state, act) {
  const { id } = state.route;
  const promo = livePromo(state, id);
  if (!promo) return [heading("Sale"), waitingFor({ [`promo:${id}`]: state.loads[`promo:${id}`] }, act.retryLoad)];
  const item = itemOfPromo(state, promo);
  return h("div", { class: "detail" },
    h("div", { class: "detail-head" },
      h("p", { class: `chip ${promo.status}` }, promoStatusText(promo.status)),
      heading(promo.title || item?.title),
      prices({ list: item?.price_minor, flash: promo.price_minor, currency: promo.currency })),
    h("section", { class: "room", "aria-label": "Waiting room" }, room(state, act, promo)),
    picture(item?.image_url, item?.title ?? "", { key: "picture" }),
    about(promo, item),
    fairness(promo));
}

function about(promo, item) {
  return h("section", { class: "about", "aria-labelledby": "about-title", key: "about" },
    h("h2", { id: "about-title" }, "About this sale"),
    item?.description && h("p", null, item.description),
    h("dl", { class: "facts" },
      fact("Opens", when(promo.starts_at)),
      fact("Ends", when(promo.ends_at)),
      fact("Per person", plural(promo.per_user_limit, "unit")),
      fact("Time to buy", roughlySpan(promo.admission.pass_ttl_ms)),
      fact("Time to pay", roughlySpan(promo.payment_window_ms))));
}

function roughlySpan(ms) {
  return ms < 60_000 ? plural(Math.round(ms / 1000), "second") : roughly(ms / 1000).replace(/^about /, "");
}

const fact = (term, value) => h("div", { key: term }, h("dt", null, term), h("dd", null, value));

function fairness(promo) {
  const opened = Boolean(promo.seed);
  return h("section", { class: "fairness", "aria-labelledby": "fair-title", key: "fair" },
    h("h2", { id: "fair-title" }, "A draw you can check"),
    h("p", null, "Coming early or clicking fast wins nothing. At opening, everybody in the lobby is put in an order that a secret seed decides together with their account number. We publish the seed's fingerprint now and the seed at opening, so nobody, not even we, can change the order afterwards."),
    h("p", { class: "mono-label" }, "Fingerprint of the seed (SHA-256)"),
    h("code", { class: "mono" }, promo.seed_commit),
    opened
      ? h("p", null, h("a", { href: href({ name: "draw", id: promo.id }) }, "Check the draw yourself"))
      : h("p", { class: "muted" }, "The check opens together with the sale."));
}
