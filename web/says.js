// What the page says without being looked at: the tab's title and the two live regions. Pure.

import { clock, money, number, roughly, spoken } from "./format.js";
import { livePromo, mostUrgent, msUntil, standing } from "./select.js";
import { reasonText } from "./words.js";

const SHOP = "PanicBuying";

const VIEW_TITLES = {
  sale: "Flash sales",
  login: "Log in",
  register: "Create an account",
  orders: "My orders",
  profile: "Profile",
  admin: "Shop desk",
  item: "Item",
  promo: "Sale",
  draw: "Check the draw",
  missing: "Not found",
};

/** The tab may be in the background for the whole wait, so its title carries the phase. */
export function titleOf(state) {
  const place = mostUrgent(state);
  const urgent = place && urgentTitle(state, place);
  return urgent ? `${urgent} · ${SHOP}` : `${viewTitle(state)} · ${SHOP}`;
}

function urgentTitle(state, place) {
  const promo = livePromo(state, place.promo_id);
  switch (place.phase) {
    case "admitted": return promo?.status === "paused" ? "Paused — your turn is kept" : `You're in — ${clock(msUntil(state, place.pass_expires_at))} to buy`;
    case "pending": return "Confirming your order";
    case "confirmed": {
      const before = state.orders.byId[place.order_id]?.pay_before;
      return before ? `It's yours — ${clock(msUntil(state, before))} to pay` : "It's yours";
    }
    case "queued": return queuedTitle(standing(state, place.promo_id));
    case "lobby": return promo ? `Opens in ${clock(msUntil(state, promo.starts_at))}` : "In the lobby";
    default: return null;
  }
}

function queuedTitle(where) {
  if (!where) return "In the queue";
  return where.ahead === 0 ? "You're next" : `${number(where.ahead)} ahead of you`;
}

function viewTitle({ route, promos, items }) {
  if (route.name === "promo") return promos.byId[route.id]?.title ?? VIEW_TITLES.promo;
  if (route.name === "item") return items.byId[route.id]?.title ?? VIEW_TITLES.item;
  return VIEW_TITLES[route.name] ?? SHOP;
}

/** How rarely a waiting shopper hears of their progress: a live region that chatters is switched off. */
const PROGRESS_EVERY_MS = 15_000;
/** Seconds before a deadline at which it is called out. */
const CALLS = [60, 30, 10];

export const silentMemory = { progressAt: 0, ahead: null };

/** `{polite, assertive, memory}` for the step from `before` to `after`. Phase changes at once, progress seldom. */
export function announce(before, after, memory = silentMemory) {
  const assertive = [];
  const polite = [];
  for (const [id, place] of Object.entries(after.places)) {
    const was = before.places[id];
    if (was?.phase !== place.phase || was?.status !== place.status) {
      const { text, urgent } = phaseWords(after, place, was);
      if (text) (urgent ? assertive : polite).push(text);
    }
    const call = deadlineCall(before, after, place);
    if (call) assertive.push(call);
  }
  const line = connectionWords(before.connection, after.connection);
  if (line) polite.push(line);
  const progress = progressWords(after, memory);
  if (progress && polite.length === 0 && assertive.length === 0) {
    return { polite: progress.text, assertive: null, memory: progress.memory };
  }
  return { polite: polite.join(" ") || null, assertive: assertive.join(" ") || null, memory };
}

function phaseWords(state, place, was) {
  switch (place.phase) {
    case "lobby": return { text: "You are in the lobby. Everybody here is drawn in random order at opening." };
    case "queued": {
      const where = standing(state, place.promo_id);
      return { text: where ? `You have number ${number(where.number)}. ${number(where.ahead)} people are ahead of you.` : "You are in the queue." };
    }
    case "admitted":
      return { urgent: true, text: `It's your turn. You have ${spoken(msUntil(state, place.pass_expires_at))} to buy.` };
    case "pending": return { text: "Your order is accepted and is being confirmed." };
    case "confirmed": return { urgent: true, text: confirmedWords(state, place) };
    case "rejected": return { urgent: true, text: `Your order was not possible. ${reasonText(place.reason)}` };
    default: return { urgent: true, text: goneWords(place, was) };
  }
}

function confirmedWords(state, place) {
  if (place.status === "paid") return "Paid. Thank you.";
  const order = state.orders.byId[place.order_id];
  const price = order?.total_minor === undefined ? "" : ` It costs ${money(order.total_minor, order.currency)}.`;
  return `Your order is confirmed. Pay to keep it.${price}`;
}

function goneWords(place, was) {
  if (place.lost) return "Asking for your place again.";
  if (place.status === "expired") return "Your order was not paid in time and has lapsed.";
  if (place.status === "cancelled") return "Your order is cancelled.";
  if (place.reason === "pass_expired") return "Your time to buy has run out.";
  if (place.reason === "ended") return "The sale has ended.";
  return was && was.phase !== "none" ? "You have left the queue." : "";
}

function deadlineCall(before, after, place) {
  const deadline = place.phase === "admitted" ? place.pass_expires_at : after.orders.byId[place.order_id]?.pay_before;
  const running = place.phase === "admitted" && livePromo(after, place.promo_id)?.status !== "paused";
  const open = running || (place.phase === "confirmed" && place.status !== "paid");
  if (!open || !deadline) return null;
  const passed = CALLS.find((s) => msUntil(before, deadline) > s * 1000 && msUntil(after, deadline) <= s * 1000);
  if (!passed) return null;
  return `${passed} seconds left to ${place.phase === "admitted" ? "buy" : "pay"}.`;
}

function connectionWords(before, after) {
  if (after.status === before.status) return null;
  if (after.status === "waiting" && before.status === "live") return `${after.code === 1001 ? "The shop is restarting." : "Connection lost."} Reconnecting.`;
  if (after.status === "live" && before.attempt > 0) return "Connected again.";
  if (after.status === "stopped") return "The connection is closed.";
  return null;
}

function progressWords(state, memory) {
  if (state.route.name !== "promo") return null;
  const place = state.places[state.route.id];
  const where = place?.phase === "queued" ? standing(state, state.route.id) : null;
  if (!where || where.ahead === memory.ahead || state.now - memory.progressAt < PROGRESS_EVERY_MS) return null;
  const wait = Number.isFinite(where.eta_s) ? `, ${roughly(where.eta_s)} to wait` : "";
  return { text: `${number(where.ahead)} people ahead${wait}.`, memory: { progressAt: state.now, ahead: where.ahead } };
}
