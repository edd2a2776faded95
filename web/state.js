// The one pure reducer: events in, state out. No clock, no network, no document; time is in the events.
//
// Events come from four sides: the socket (`frame`, `connection`), REST (`load/…`, `order/loaded`),
// the person (`route`, `order/sent`, `confirm/…`) and the clock (`tick`). What the server says about a
// shopper's place replaces what the page believed; the page never invents a place.

import { foldFrame } from "./frames.js";
import { isDoor, href } from "./routes.js";

export function initialState({ session = null, requests = [], now = 0, route = { name: "sale" } } = {}) {
  return {
    now,
    skew: 0,
    route,
    returnTo: null,
    farewell: null,
    session,
    connection: { status: "connecting", attempt: 0 },
    items: { ids: [], byId: {}, next: null },
    promos: { ids: [], byId: {} },
    orders: { byId: {}, next: null },
    queues: {},
    stocks: {},
    places: {},
    requests: Object.fromEntries(requests.map((r) => [r.request_id, r])),
    loads: {},
    forms: {},
    draws: {},
    audits: {},
    confirm: null,
    notice: null,
  };
}

export function reduce(state, event) {
  const timed = event.at === undefined ? state : { ...state, now: event.at + state.skew };
  const fold = FOLDS[event.type];
  return fold ? fold(timed, event) : timed;
}

const FOLDS = {
  "tick": (state) => state, // the time is in every event
  "route": foldRoute,
  "connection": (state, { type, at, ...connection }) => ({ ...state, connection }),
  "frame": (state, { frame, at }) => foldFrame(state, frame, at),
  "unwatched": foldUnwatched,

  "session/started": (state, { session }) => ({ ...forget(state), session, farewell: null }),
  "session/ended": (state, { why }) => ({ ...forget(state), session: null, farewell: why }),
  "profile/changed": (state, { user }) => ({ ...state, session: { ...state.session, user } }),

  "join/asked": (state, { promo_id }) => putPlace(state, promo_id, { joining: true }),
  "order/sent": foldSent,
  "request/dismissed": foldDismissed,

  "load/started": (state, { key }) => putLoad(state, key, { status: "loading", stale: false }),
  "load/failed": (state, { key, problem }) => putLoad(state, key, { status: "failed", problem, stale: false }),
  "load/done": foldLoaded,
  "load/stale": (state, { keys }) => markStale(state, keys),
  "items/more": (state, { page }) => putItems(state, page, state.items.ids),
  "orders/more": (state, { page }) => putOrders(state, page),
  "order/loaded": (state, { order }) => putOrder(state, order),
  "promo/changed": foldPromoChanged,

  "form/busy": (state, { form }) => putForm(state, form, { busy: true, errors: {}, detail: null }),
  "form/failed": (state, { form, problem }) =>
    putForm(state, form, { busy: false, errors: problem.errors ?? {}, problem }),
  "form/done": (state, { form, said }) => putForm(state, form, { busy: false, errors: {}, said }),

  "draw/step": (state, { promo_id, draw }) => ({ ...state, draws: { ...state.draws, [promo_id]: draw } }),
  "audit/loaded": (state, { promo_id, audit }) => ({ ...state, audits: { ...state.audits, [promo_id]: audit } }),
  "confirm/asked": (state, { what }) => ({ ...state, confirm: what }),
  "confirm/closed": (state) => ({ ...state, confirm: null }),
  "notice": (state, { text, kind = "info" }) => ({ ...state, notice: { text, kind } }),
  "notice/closed": (state) => ({ ...state, notice: null }),
};

function foldRoute(state, { route, from }) {
  // Whoever is sent to the door comes back to where they stood, not to where the door stands.
  const back = from ?? (isDoor(state.route) ? null : href(state.route));
  const returnTo = isDoor(route) ? back ?? state.returnTo : null;
  const farewell = isDoor(route) ? state.farewell : null;
  const loads = withoutFailures(state.loads);
  return { ...state, route, returnTo, farewell, loads, confirm: null, notice: null, forms: {} };
}

/** Another person, or nobody: what belonged to the last one is gone, what everybody sees is read again. */
function forget(state) {
  const { now, skew, route, returnTo, connection, items, promos, queues, stocks } = state;
  return { ...initialState({ now, route }), skew, returnTo, connection, items, promos, queues, stocks };
}

function foldUnwatched(state, { promo_ids }) {
  const queues = { ...state.queues };
  const stocks = { ...state.stocks };
  for (const id of promo_ids) {
    delete queues[id];
    delete stocks[id];
  }
  return { ...state, queues, stocks };
}

function foldSent(state, { request }) {
  const requests = { [request.request_id]: { sent_at: state.now, ...request, status: "sending" } };
  for (const old of Object.values(state.requests)) {
    const sameTarget = old.promo_id === request.promo_id && old.item_id === request.item_id;
    if (!sameTarget || old.status === "sending") requests[old.request_id] = old;
  }
  return { ...state, requests };
}

function foldDismissed(state, { request_id }) {
  const { [request_id]: gone, ...requests } = state.requests;
  return gone?.status === "sending" ? state : { ...state, requests };
}

function foldLoaded(state, { key, data }) {
  const stale = state.loads[key]?.stale ?? false;
  const loaded = putLoad(state, key, { status: "ready", stale, ready: true });
  switch (key.split(":")[0]) {
    case "items": return putItems(loaded, data, []);
    case "promos": return putPromos(loaded, data);
    case "item": return putItem(loaded, data);
    case "promo": return putPromo(loaded, data);
    case "orders": return putOrders(loaded, data);
    case "order": return putOrder(loaded, data);
    default: return loaded;
  }
}

function foldPromoChanged(state, { promo }) {
  const queue = state.queues[promo.id];
  const queues = queue ? { ...state.queues, [promo.id]: { ...queue, status: promo.status } } : state.queues;
  return markStale(putPromo({ ...state, queues }, promo), ["items", `item:${promo.item_id}`, "promos"]);
}

function putLoad(state, key, load) {
  const ready = load.ready ?? state.loads[key]?.ready ?? false;
  return { ...state, loads: { ...state.loads, [key]: { ...load, ready } } };
}

export function markStale(state, keys) {
  const loads = { ...state.loads };
  for (const key of keys) if (loads[key]) loads[key] = { ...loads[key], stale: true };
  return { ...state, loads };
}

export function withoutFailures(loads) {
  return Object.fromEntries(Object.entries(loads).filter(([, load]) => load.status !== "failed"));
}

function putForm(state, form, value) {
  return { ...state, forms: { ...state.forms, [form]: value } };
}

function putItems(state, page, before) {
  const merged = page.data.reduce(putItem, state);
  const ids = [...new Set([...before, ...page.data.map((item) => item.id)])];
  return { ...merged, items: { ...merged.items, ids, next: page.next ?? null } };
}

function putItem(state, item) {
  const items = { ...state.items, byId: { ...state.items.byId, [item.id]: item } };
  const next = { ...state, items };
  return item.promo ? putPromo(next, item.promo) : next;
}

function putPromos(state, page) {
  const merged = page.data.reduce(putPromo, state);
  return { ...merged, promos: { ...merged.promos, ids: page.data.map((promo) => promo.id) } };
}

function putPromo(state, promo) {
  const { ids, byId } = state.promos;
  return { ...state, promos: { ids, byId: { ...byId, [promo.id]: { ...byId[promo.id], ...promo } } } };
}

function putOrders(state, page) {
  const merged = page.data.reduce(putOrder, state);
  return { ...merged, orders: { ...merged.orders, next: page.next ?? null } };
}

/** An order read over REST also moves the place it came from, should its `state` frame be late. */
export function putOrder(state, order) {
  const known = state.orders.byId[order.order_id];
  const merged = { ...known, ...order };
  const byId = { ...state.orders.byId, [order.order_id]: merged };
  const next = { ...state, orders: { ...state.orders, byId } };
  const place = Object.values(state.places).find((p) => p.order_id === order.order_id);
  if (!place || place.status === order.status) return next;
  return putPlace(next, place.promo_id, phaseOfOrder(merged));
}

const PHASES = { pending: "pending", awaiting_payment: "confirmed", paid: "confirmed", rejected: "rejected" };

function phaseOfOrder({ status, reason }) {
  return { phase: PHASES[status] ?? "none", status, reason };
}

export function putPlace(state, promo_id, change) {
  const place = { phase: "none", ...state.places[promo_id], promo_id, ...change };
  return { ...state, places: { ...state.places, [promo_id]: place } };
}
