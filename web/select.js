// What views ask of the state. Pure and derived: nothing here is stored twice.

/** A promo as of this moment: the record read over REST under the frames that came since. */
export function livePromo(state, id) {
  const promo = state.promos.byId[id];
  if (!promo) return null;
  const queue = state.queues[id];
  const stock = state.stocks[id];
  return {
    ...promo,
    status: queue?.status ?? promo.status,
    starts_at: queue?.starts_at ?? promo.starts_at,
    available: stock?.available ?? promo.available,
  };
}

export function itemOfPromo(state, promo) {
  return state.items.byId[promo.item_id] ?? null;
}

/**
 * Where a numbered shopper stands. `head` only grows, so of two reports the larger is the newer one.
 * A number that is called can be "ahead −1" for an instant; nobody is shown less than zero.
 */
export function standing(state, id) {
  const place = state.places[id];
  if (!place?.number) return null;
  const queue = state.queues[id];
  const told = place.ahead === undefined ? 0 : place.number - place.ahead - 1;
  const head = Math.max(queue?.head ?? 0, told);
  const ahead = Math.max(0, place.number - head - 1);
  const rate = queue?.rate_per_s ?? state.promos.byId[id]?.admission?.rate_per_s ?? 0;
  return {
    number: place.number,
    head: Math.min(head, place.number),
    ahead,
    eta_s: rate > 0 ? ahead / rate : Infinity,
    progress: place.number <= 1 ? 1 : Math.min(1, head / (place.number - 1)),
  };
}

/**
 * Honest, and worst case first: everybody ahead may take as many as one person is allowed, and so may
 * those who hold a pass at this moment. They are no longer ahead, and their units not yet gone.
 */
export function odds({ ahead, active = 0, available, limit = 1 }) {
  const rivals = ahead + active;
  if (available <= 0) return "none";
  if (rivals * limit < available) return "sure";
  if (rivals < available) return "likely";
  return "short";
}

export function msUntil(state, iso) {
  const at = Date.parse(iso);
  return Number.isNaN(at) ? 0 : Math.max(0, at - state.now);
}

export function requestFor(state, target) {
  const [field, id] = Object.entries(target)[0];
  const found = Object.values(state.requests).filter((r) => r[field] === id);
  return found.at(-1) ?? null;
}

export function ordersNewestFirst(state) {
  return Object.values(state.orders.byId)
    .filter((order) => order.created_at !== undefined)
    .sort((a, b) => b.created_at.localeCompare(a.created_at) || b.order_id.localeCompare(a.order_id));
}

export function ordersOfPromo(state, id) {
  return ordersNewestFirst(state).filter((order) => order.promo_id === id);
}

const GIVEN_BACK = new Set(["cancelled", "expired", "rejected"]);

/** How many more units this shopper may take in a promo; an order that was given back does not count. */
export function unitsLeftFor(state, promo) {
  const taken = ordersOfPromo(state, promo.id).filter((order) => !GIVEN_BACK.has(order.status));
  return Math.max(0, promo.per_user_limit - taken.reduce((sum, order) => sum + order.quantity, 0));
}

const URGENCY = ["admitted", "confirmed", "pending", "queued", "lobby"];

/** Of all the places a shopper holds, the one that wants them first. A paid order wants nothing. */
export function mostUrgent(state) {
  const open = Object.values(state.places).filter(
    (place) => URGENCY.includes(place.phase) && place.status !== "paid",
  );
  const rank = (place) => URGENCY.indexOf(place.phase);
  return open.sort((a, b) => rank(a) - rank(b))[0] ?? null;
}

/** Promos to watch: what is on screen and not over, and wherever this shopper holds a place. */
export function wantedWatches(state) {
  const { route } = state;
  const wanted = new Set();
  if (route.name === "promo" || route.name === "draw") wanted.add(route.id);
  if (route.name === "item" && state.items.byId[route.id]?.promo) wanted.add(state.items.byId[route.id].promo.id);
  if (route.name === "sale") {
    for (const id of state.items.ids) {
      const promo = state.items.byId[id]?.promo;
      if (promo && isRunning(promo)) wanted.add(promo.id);
    }
  }
  if (route.name === "admin") {
    for (const id of state.promos.ids) if (isRunning(state.promos.byId[id])) wanted.add(id);
  }
  for (const place of Object.values(state.places)) if (place.phase !== "none") wanted.add(place.promo_id);
  return new Set([...wanted].slice(0, MAX_WATCHES));
}

const isRunning = ({ status }) => status !== "ended" && status !== "draft";

// One frame each at every reconnect: the list must not spend the socket's own rate limit.
const MAX_WATCHES = 24;

/** Keys of what the current view shows and has not been read, or has news. */
export function wantedLoads(state) {
  return wantedKeys(state).filter((key) => {
    const load = state.loads[key];
    return !load || (load.stale && load.status !== "loading");
  });
}

function wantedKeys(state) {
  const { route, session } = state;
  switch (route.name) {
    case "sale": return ["items", "promos"];
    case "item": return [`item:${route.id}`, ...ordersNeeded(state)];
    case "promo":
    case "draw": return [...promoNeeded(state, route.id), ...ordersNeeded(state)];
    case "orders": return session ? ["orders", "items"] : [];
    case "admin": return session ? ["items", "promos"] : [];
    default: return [];
  }
}

function promoNeeded(state, id) {
  const promo = state.promos.byId[id];
  return promo ? [`promo:${id}`, `item:${promo.item_id}`] : [`promo:${id}`];
}

/** Frames carry an order's id and status; its price and deadline come with the order itself. */
function ordersNeeded(state) {
  if (!state.session) return [];
  const open = [
    ...Object.values(state.places).map((place) => place.order_id),
    ...Object.values(state.requests).map((request) => request.order_id),
  ].filter((id) => id && state.orders.byId[id]?.status === "awaiting_payment" && lacksTerms(state.orders.byId[id]));
  return ["orders", ...open.map((id) => `order:${id}`)];
}

const lacksTerms = (order) => order.pay_before === undefined || order.total_minor === undefined;
