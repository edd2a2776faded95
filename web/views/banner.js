// The strip under the top bar: a lost connection, a turn that waits on another view, a short notice.

import { h } from "../dom.js";
import { clock } from "../format.js";
import { livePromo, mostUrgent, msUntil } from "../select.js";
import { closedText } from "../words.js";
import { button } from "./parts.js";

export function banner(state, act) {
  return [connectionStrip(state, act), turnStrip(state), noticeStrip(state, act)];
}

function connectionStrip(state, act) {
  const { connection } = state;
  const again = connection.status === "waiting" || (connection.status === "connecting" && connection.attempt > 0);
  if (again) return reconnecting(state, act);
  if (connection.status !== "stopped") return null;
  return h("div", { class: "strip bad", key: "connection", "data-connection": "stopped" },
    h("p", null, closedText(connection.code)),
    button("Connect again", { kind: "small", onclick: act.reconnect }));
}

function reconnecting(state, act) {
  const { connection } = state;
  const wait = connection.status === "waiting" ? connection.retry_at + state.skew - state.now : 0;
  const soon = wait > 1500 ? ` in ${clock(wait)}` : "…";
  return h("div", { class: "strip warn", key: "connection", "data-connection": "reconnecting" },
    h("span", { class: "pulse", "aria-hidden": "true" }),
    h("p", null,
      h("strong", null, connection.code === 1001 ? "The shop is restarting. " : "Connection lost. "),
      `Reconnecting${soon} `,
      mostUrgent(state) && "Your place is kept meanwhile."),
    wait > 1500 && button("Now", { kind: "small", onclick: act.reconnect }));
}

/** Somebody who reads their orders while their pass runs should not have to guess it from the tab's title. */
function turnStrip(state) {
  const place = mostUrgent(state);
  if (!place || (state.route.name === "promo" && state.route.id === place.promo_id)) return null;
  const promo = livePromo(state, place.promo_id);
  if (place.phase === "admitted" && promo?.status === "paused") return null;
  const deadline = place.phase === "admitted" ? place.pass_expires_at : state.orders.byId[place.order_id]?.pay_before;
  const words = { admitted: "It's your turn", confirmed: "Waiting for your payment" }[place.phase];
  if (!words) return null;
  return h("div", { class: "strip good", key: "turn" },
    h("p", null, h("strong", null, `${words}: `), promo?.title ?? "a sale",
      deadline && ` · ${clock(msUntil(state, deadline))} left`),
    h("a", { class: "button small", href: `#/promo/${place.promo_id}` }, place.phase === "admitted" ? "Go and buy" : "Go and pay"));
}

function noticeStrip({ notice }, act) {
  if (!notice) return null;
  return h("div", { class: `strip ${notice.kind}`, key: "notice", role: "status" },
    h("p", null, notice.text),
    button("Close", { kind: "small", onclick: act.closeNotice }));
}
