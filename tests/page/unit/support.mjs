// Short ways to write a history of events.

import { initialState, reduce } from "../../../web/state.js";

export const T0 = Date.parse("2026-03-01T12:00:00.000Z");
export const iso = (ms) => new Date(ms).toISOString();
export const user = { id: 7, email: "mira@mail.example", display_name: "Mira", role: "shopper" };
export const session = { token: "t", expires_at: iso(T0 + 3_600_000), user };

export const promo = {
  id: 3, item_id: 5, title: "Aurora runner", status: "scheduled", price_minor: 7_900, currency: "EUR",
  stock: 10, available: 10, per_user_limit: 1, starts_at: iso(T0 + 60_000), ends_at: iso(T0 + 3_600_000),
  admission: { rate_per_s: 2, max_active: 5, pass_ttl_ms: 60_000 }, payment_window_ms: 300_000, seed_commit: "00",
};

export const start = (more = {}) => initialState({ session, now: T0, ...more });
export const fold = (state, ...events) => events.reduce((s, e) => reduce(s, { at: T0, ...e }), state);
export const frame = (type, fields) => ({ type: "frame", frame: { type, ...fields } });

export const welcome = (states = [], more = {}) =>
  frame("welcome", { session_id: "s", user_id: user.id, server_time: iso(T0), heartbeat_ms: 15_000, states, ...more });
export const place = (fields) => frame("state", { promo_id: promo.id, ...fields });
export const queue = (fields) =>
  frame("queue", { promo_id: promo.id, status: "ongoing", starts_at: promo.starts_at, lobby: 0, head: 0, waiting: 0, active: 0, rate_per_s: 2, ...fields });
export const sent = (request_id, fields = { promo_id: promo.id }) =>
  ({ type: "order/sent", request: { request_id, quantity: 1, user_id: user.id, ...fields } });
export const loaded = (key, data) => ({ type: "load/done", key, data });
