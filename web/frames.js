// How each server frame changes the state. Part of the reducer, so pure as well.

import { wantedWatches } from "./select.js";
import { errorText } from "./words.js";
import { markStale, putOrder, putPlace, withoutFailures } from "./state.js";

export function foldFrame(state, frame, at) {
  const fold = FOLDS[frame.type];
  return fold ? fold(state, frame, at) : state;
}

const FOLDS = {
  welcome: foldWelcome,
  state: foldState,
  queue: foldQueue,
  stock: foldStock,
  accepted: foldAccepted,
  refused: foldRefused,
  outcome: foldOutcome,
  error: foldError,
};

/** Everything this shopper has, anywhere. A place it does not name is gone, unless the page asks for it again. */
function foldWelcome(state, frame, at) {
  const skew = Date.parse(frame.server_time) - at;
  const asked = placesToAskFor(state, frame);
  const lost = Object.fromEntries(asked.map((id) => [id, { promo_id: id, phase: "none", joining: true, lost: true }]));
  const fresh = {
    ...state,
    skew: Number.isNaN(skew) ? state.skew : skew,
    now: Number.isNaN(skew) ? state.now : at + skew,
    places: {},
    // Nothing is watched on a new connection: what will not be told again must not outlive the old one.
    // Versions count per server run; after a reconnect the first frame is the truth.
    queues: only(state.queues, wantedWatches(state)),
    stocks: mapValues(only(state.stocks, wantedWatches(state)), (stock) => ({ ...stock, version: -1 })),
    loads: withoutFailures(state.loads),
  };
  const told = frame.states.reduce((next, entry) => foldState(next, entry), fresh);
  return markStale({ ...told, places: { ...told.places, ...lost } }, ["orders"]);
}

/**
 * Promos to join again after `welcome`: joins that were never answered, and places in a lobby or a queue
 * that a single-machine server forgot when it restarted. A `none` with a reason is the server's own verdict.
 */
export function placesToAskFor(state, welcome) {
  if (welcome.user_id === null || welcome.user_id === undefined) return [];
  const told = new Map(welcome.states.map((entry) => [entry.promo_id, entry]));
  return Object.values(state.places)
    .filter((place) => place.joining || place.phase === "lobby" || place.phase === "queued")
    .map((place) => place.promo_id)
    .filter((id) => {
      const entry = told.get(id);
      return !entry || (entry.phase === "none" && !entry.reason && !entry.order_id);
    });
}

/** What to send right after `welcome`: lost places, and orders whose answer never came, each with its first id. */
export function framesAfterWelcome(before, welcome) {
  const joins = placesToAskFor(before, welcome).map((promo_id) => ({ type: "join", promo_id }));
  const orders = Object.values(before.requests)
    .filter((request) => request.status === "sending" && request.user_id === welcome.user_id)
    .map(orderFrame);
  return [...joins, ...orders];
}

export function orderFrame({ request_id, promo_id, item_id, quantity }) {
  const target = promo_id === undefined ? { item_id } : { promo_id };
  return { type: "order", request_id, ...target, quantity };
}

function foldState(state, { type, ...place }) {
  const next = { ...state, places: { ...state.places, [place.promo_id]: place } };
  if (!place.order_id || !place.status) return next;
  return noteOrder(next, { order_id: place.order_id, promo_id: place.promo_id, status: place.status });
}

/** The list and the order itself are read again only when there is news in it. */
function noteOrder(state, order) {
  const known = state.orders.byId[order.order_id];
  const news = known?.status !== order.status;
  const next = putOrder(state, order);
  return news ? markStale(next, ["orders", `order:${order.order_id}`]) : next;
}

function foldQueue(state, { type, ...queue }) {
  const id = queue.promo_id;
  const before = state.queues[id]?.status ?? state.promos.byId[id]?.status;
  const next = { ...state, queues: { ...state.queues, [id]: queue } };
  // At each change of status the promo itself has news: the seed at opening, times, what is left at the end.
  if (before === undefined || before === queue.status) return next;
  return markStale(next, [`promo:${id}`, "items", `item:${state.promos.byId[id]?.item_id}`, "promos"]);
}

function foldStock(state, { promo_id, available, version }) {
  const known = state.stocks[promo_id];
  if (known && known.version > version) return state;
  return { ...state, stocks: { ...state.stocks, [promo_id]: { available, version } } };
}

function foldAccepted(state, { request_id, order_id }) {
  const request = state.requests[request_id];
  if (!request) return state;
  const next = putRequest(state, { ...request, status: "accepted", order_id });
  const known = state.orders.byId[order_id];
  // The answer to a repeated request may be older than the order's own news.
  if (known && known.status !== "pending") return next;
  const { promo_id, item_id, quantity } = request;
  const order = putOrder(next, { order_id, promo_id: promo_id ?? null, quantity, status: "pending", ...(item_id && { item_id }) });
  if (promo_id === undefined) return markStale(order, ["orders"]);
  const stillOurs = !state.places[promo_id] || state.places[promo_id].phase === "admitted";
  return stillOurs ? putPlace(order, promo_id, { phase: "pending", order_id, status: "pending" }) : order;
}

function foldRefused(state, { request_id, reason, retry_after_ms }) {
  const request = state.requests[request_id];
  if (!request) return state;
  const retry_at = retry_after_ms ? state.now + retry_after_ms : undefined;
  return putRequest(state, { ...request, status: "refused", reason, retry_at });
}

function foldOutcome(state, { type, ...outcome }) {
  const { order_id, promo_id, status } = outcome;
  const next = noteOrder(state, { ...outcome, promo_id: promo_id ?? null });
  const request = Object.values(state.requests).find((r) => r.order_id === order_id);
  const settled = request ? putRequest(next, { ...request, status: "settled" }) : next;
  if (promo_id === undefined || promo_id === null) return settled;
  const phase = status === "rejected" ? "rejected" : "confirmed";
  return putPlace(settled, promo_id, { phase, order_id, status, reason: outcome.reason });
}

function foldError(state, { code, message, temporary, ref }) {
  const text = errorText({ code, message });
  const request = state.requests[ref];
  if (request) {
    return putRequest(state, { ...request, status: "refused", reason: temporary ? "unavailable" : code });
  }
  if (temporary && ref === "join") return foldJoinLater(state, text);
  const places = mapValues(state.places, ({ joining, lost, ...place }) => place);
  return { ...state, places, notice: { kind: "warn", text } };
}

/** How often a join is repeated by the page itself; after that a person decides. */
const JOIN_TRIES = 5;

/** The frame does not say which join it was, but those still out are all that can be repeated. */
function foldJoinLater(state, text) {
  const places = mapValues(state.places, (place) => (place.joining ? { ...place, tries: (place.tries ?? 0) + 1 } : place));
  const tired = Object.values(places).some((place) => place.tries > JOIN_TRIES);
  if (!tired) return { ...state, places };
  const rested = mapValues(places, ({ joining, lost, tries, ...place }) => place);
  return { ...state, places: rested, notice: { kind: "warn", text } };
}

/** Joins that the server could not take just now, and how patient to be with each. */
export function joinsToRepeat(state) {
  return Object.values(state.places).filter((place) => place.joining && place.tries > 0);
}

function putRequest(state, request) {
  return { ...state, requests: { ...state.requests, [request.request_id]: request } };
}

function mapValues(record, change) {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value)]));
}

function only(record, ids) {
  return Object.fromEntries(Object.entries(record).filter(([id]) => ids.has(Number(id))));
}
