// The reducer, told histories as a server and a person would write them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { framesAfterWelcome, joinsToRepeat, placesToAskFor } from "../../../web/frames.js";
import { livePromo, mostUrgent, ordersNewestFirst, requestFor, standing, unitsLeftFor, wantedLoads, wantedWatches } from "../../../web/select.js";
import { T0, fold, frame, iso, loaded, place, promo, queue, sent, session, start, user, welcome } from "./support.mjs";

const at = (state) => state.places[promo.id];

test("from the lobby to a paid order", () => {
  let s = fold(start(), loaded("promo:3", promo), welcome(), { type: "join/asked", promo_id: 3 });
  assert.equal(at(s).joining, true);
  s = fold(s, place({ phase: "lobby" }));
  assert.deepEqual([at(s).phase, at(s).joining], ["lobby", undefined]);
  s = fold(s, place({ phase: "queued", number: 4, ahead: 3 }), queue({ head: 1 }));
  assert.equal(standing(s, 3).ahead, 2);
  s = fold(s, place({ phase: "admitted", number: 4, pass_expires_at: iso(T0 + 60_000) }), sent("r1"));
  s = fold(s, frame("accepted", { request_id: "r1", order_id: "o1" }));
  assert.deepEqual([at(s).phase, at(s).order_id], ["pending", "o1"]);
  s = fold(s, place({ phase: "pending", order_id: "o1", status: "pending" }),
    frame("outcome", { order_id: "o1", promo_id: 3, status: "awaiting_payment", price_minor: 7_900, pay_before: iso(T0 + 300_000) }),
    place({ phase: "confirmed", order_id: "o1", status: "awaiting_payment" }));
  assert.equal(at(s).phase, "confirmed");
  assert.equal(s.orders.byId.o1.pay_before, iso(T0 + 300_000));
  assert.equal(requestFor(s, { promo_id: 3 }).status, "settled");
  s = fold(s, place({ phase: "confirmed", order_id: "o1", status: "paid" }));
  assert.equal(s.orders.byId.o1.status, "paid");
  assert.equal(mostUrgent(s), null, "a paid order asks for nothing");
});

test("an outcome before its accepted does not fall back to pending", () => {
  const s = fold(start(), welcome(), place({ phase: "admitted", number: 1 }), sent("r1"),
    frame("outcome", { order_id: "o1", promo_id: 3, status: "awaiting_payment", price_minor: 1, pay_before: iso(T0 + 1) }),
    frame("accepted", { request_id: "r1", order_id: "o1" }));
  assert.equal(at(s).phase, "confirmed");
});

test("a rejected outcome says why, and leaves nothing open", () => {
  const s = fold(start(), welcome(), place({ phase: "admitted", number: 1 }), sent("r1"),
    frame("accepted", { request_id: "r1", order_id: "o1" }),
    frame("outcome", { order_id: "o1", promo_id: 3, status: "rejected", reason: "sold_out" }));
  assert.deepEqual([at(s).phase, at(s).reason], ["rejected", "sold_out"]);
});

test("a refusal is kept with its reason and the time to try again", () => {
  const s = fold(start(), welcome(), place({ phase: "admitted", number: 1 }), sent("r1"),
    frame("refused", { request_id: "r1", reason: "paused", retry_after_ms: 3_000 }));
  assert.deepEqual([requestFor(s, { promo_id: 3 }).status, requestFor(s, { promo_id: 3 }).retry_at], ["refused", T0 + 3_000]);
  assert.equal(at(s).phase, "admitted");
});

test("an unpaid order that lapses is told as lapsed", () => {
  const s = fold(start(), welcome([{ promo_id: 3, phase: "confirmed", order_id: "o1", status: "awaiting_payment" }]),
    place({ phase: "none", order_id: "o1", status: "expired" }));
  assert.deepEqual([at(s).phase, at(s).status, s.orders.byId.o1.status], ["none", "expired", "expired"]);
});

test("an order paid over REST moves its place before the frame does", () => {
  const s = fold(start(), welcome([{ promo_id: 3, phase: "confirmed", order_id: "o1", status: "awaiting_payment" }]),
    { type: "order/loaded", order: { order_id: "o1", promo_id: 3, status: "paid" } });
  assert.deepEqual([at(s).phase, at(s).status], ["confirmed", "paid"]);
});

test("head never goes back, and nobody is shown less than zero ahead", () => {
  const s = fold(start(), welcome(), place({ phase: "queued", number: 10, ahead: 2 }), queue({ head: 5 }));
  assert.equal(standing(s, 3).ahead, 2, "the place's own frame is newer than the broadcast");
  assert.equal(standing(fold(s, queue({ head: 10 })), 3).ahead, 0);
});

test("an older stock frame does not undo a newer one, but a new connection may", () => {
  let s = fold(start({ route: { name: "promo", id: 3 } }), loaded("promo:3", promo), frame("stock", { promo_id: 3, available: 4, version: 9 }),
    frame("stock", { promo_id: 3, available: 7, version: 8 }));
  assert.equal(livePromo(s, 3).available, 4);
  s = fold(s, welcome(), frame("stock", { promo_id: 3, available: 6, version: 1 }));
  assert.equal(livePromo(s, 3).available, 6);
});

test("a new connection forgets frames of promos that are no longer watched", () => {
  const s = fold(start({ route: { name: "orders" } }), queue({ status: "ongoing" }), welcome());
  assert.equal(s.queues[3], undefined);
});

test("welcome restores every place after a reload", () => {
  const s = fold(start(), welcome([{ promo_id: 3, phase: "queued", number: 8, ahead: 5 }]));
  assert.deepEqual([at(s).phase, standing(s, 3).ahead], ["queued", 5]);
});

test("welcome sets the shop's clock", () => {
  const s = fold(start(), welcome([], { server_time: iso(T0 - 90_000) }));
  assert.deepEqual([s.skew, s.now], [-90_000, T0 - 90_000]);
  assert.equal(fold(s, { type: "tick", at: T0 + 1_000 }).now, T0 - 89_000);
});

test("after welcome the page asks again for a place that a restart forgot", () => {
  const before = fold(start(), welcome(), place({ phase: "queued", number: 2 }));
  const told = welcome([{ promo_id: 3, phase: "none" }]).frame;
  assert.deepEqual(framesAfterWelcome(before, told), [{ type: "join", promo_id: 3 }]);
  const after = fold(before, { type: "frame", frame: told });
  assert.deepEqual([at(after).phase, at(after).lost, at(after).joining], ["none", true, true]);
  assert.equal(fold(after, place({ phase: "queued", number: 1 })).places[3].lost, undefined);
});

test("it does not argue with a verdict, nor ask for a place that is there", () => {
  const before = fold(start(), welcome(), place({ phase: "queued", number: 2 }));
  for (const entry of [{ phase: "none", reason: "ended" }, { phase: "queued", number: 2 }, { phase: "none", order_id: "o", status: "expired" }]) {
    assert.deepEqual(placesToAskFor(before, welcome([{ promo_id: 3, ...entry }]).frame), []);
  }
  const done = fold(before, place({ phase: "admitted", number: 2 }));
  assert.deepEqual(placesToAskFor(done, welcome().frame), [], "a pass is not asked for: it may have been used");
});

test("an order without an answer is repeated with its first id, one with an answer is not", () => {
  const before = fold(start(), welcome(), place({ phase: "admitted", number: 1 }), sent("r1"));
  assert.deepEqual(framesAfterWelcome(before, welcome().frame), [{ type: "order", request_id: "r1", promo_id: 3, quantity: 1 }]);
  const answered = fold(before, frame("accepted", { request_id: "r1", order_id: "o1" }));
  assert.deepEqual(framesAfterWelcome(answered, welcome().frame), []);
});

test("nobody's order is sent in somebody else's name", () => {
  const before = fold(start(), sent("r1"));
  assert.deepEqual(framesAfterWelcome(before, welcome([], { user_id: 8 }).frame), []);
});

test("a request kept over a reload is repeated", () => {
  const before = start({ requests: [{ request_id: "r1", item_id: 5, quantity: 2, user_id: user.id, status: "sending" }] });
  assert.deepEqual(framesAfterWelcome(before, welcome().frame), [{ type: "order", request_id: "r1", item_id: 5, quantity: 2 }]);
});

test("the answer to a repeated request does not undo what the order became", () => {
  const s = fold(start(), sent("r1"), welcome([{ promo_id: 3, phase: "confirmed", order_id: "o1", status: "awaiting_payment" }]),
    frame("accepted", { request_id: "r1", order_id: "o1" }));
  assert.deepEqual([at(s).phase, s.orders.byId.o1.status], ["confirmed", "awaiting_payment"]);
});

test("another person sees nothing of the last one", () => {
  const s = fold(start(), loaded("items", { data: [{ id: 5, title: "x", promo }], next: null }), welcome(), place({ phase: "queued", number: 2 }), sent("r1"),
    { type: "session/ended", why: "logout" });
  assert.deepEqual([s.session, s.places, s.requests, s.orders.byId, s.loads], [null, {}, {}, {}, {}]);
  assert.deepEqual(s.items.ids, [5]);
});

test("whoever is sent to log in comes back to where they stood", () => {
  const promoRoute = { name: "promo", id: 3 };
  let s = fold(start(), { type: "route", route: promoRoute }, { type: "session/ended", why: "expired" });
  s = fold(s, { type: "route", route: { name: "login" }, from: "#/promo/3" });
  assert.deepEqual([s.returnTo, s.farewell], ["#/promo/3", "expired"]);
  s = fold(s, { type: "route", route: { name: "register" } });
  assert.equal(s.returnTo, "#/promo/3", "through the other door as well");
  s = fold(s, { type: "session/started", session }, { type: "route", route: promoRoute });
  assert.deepEqual([s.returnTo, s.farewell], [null, null]);
});

test("a change of status makes the promo be read again, once", () => {
  const route = { name: "promo", id: 3 };
  let s = fold(start({ session: null, route }), { type: "load/started", key: "promo:3" }, loaded("promo:3", promo),
    { type: "load/started", key: "item:5" }, loaded("item:5", { id: 5, promo: null }));
  assert.deepEqual(wantedLoads(s), []);
  s = fold(s, queue({ status: "ongoing" }));
  assert.deepEqual(wantedLoads(s), ["promo:3", "item:5"]);
  s = fold(s, { type: "load/started", key: "promo:3" }, queue({ status: "ongoing", head: 1 }));
  assert.deepEqual(wantedLoads(s), ["item:5"]);
});

test("a failed read is not repeated by itself, but a new connection tries again", () => {
  const s = fold(start({ session: null }), { type: "load/failed", key: "items", problem: { status: 503 } });
  assert.deepEqual(wantedLoads(s), ["promos"]);
  assert.deepEqual(wantedLoads(fold(s, welcome([], { user_id: null }))), ["items", "promos"]);
});

test("places are watched wherever the person is", () => {
  const s = fold(start({ route: { name: "profile" } }), welcome([{ promo_id: 3, phase: "queued", number: 1 }]));
  assert.deepEqual([...wantedWatches(s)], [3]);
});

test("orders read over REST are shown newest first; bare news of one is not a row yet", () => {
  const order = (order_id, created_at) => ({ order_id, created_at, promo_id: null, status: "paid" });
  const s = fold(start(), loaded("orders", { data: [order("a", iso(T0)), order("b", iso(T0 + 1))], next: null }),
    frame("outcome", { order_id: "c", status: "awaiting_payment" }));
  assert.deepEqual(ordersNewestFirst(s).map((o) => o.order_id), ["b", "a"]);
});

test("who may buy several is told how many more", () => {
  const order = (status, quantity) => ({ order_id: status, promo_id: 3, status, quantity, created_at: iso(T0) });
  const s = fold(start(), loaded("orders", { data: [order("paid", 2), order("expired", 5), order("awaiting_payment", 1)], next: null }));
  assert.equal(unitsLeftFor(s, { ...promo, per_user_limit: 4 }), 1);
  assert.equal(unitsLeftFor(s, promo), 0);
});

test("an error about a request ends the request, any other is shown", () => {
  const s = fold(start(), sent("r1"), frame("error", { code: "bad_request", message: "no", temporary: false, ref: "r1" }));
  assert.deepEqual([s.requests.r1.status, s.requests.r1.reason, s.notice], ["refused", "bad_request", null]);
  const t = fold(start(), { type: "join/asked", promo_id: 3 }, frame("error", { code: "not_found", message: "There is no such sale.", temporary: false }));
  assert.deepEqual([t.notice.text, t.places[3].joining], ["This sale does not exist, or not any more.", undefined]);
});

test("a join that cannot be taken just now is repeated, but not for ever", () => {
  const later = frame("error", { code: "room_full", message: "The waiting room is full.", temporary: true, ref: "join" });
  let s = fold(start(), welcome(), { type: "join/asked", promo_id: 3 }, later);
  assert.deepEqual(joinsToRepeat(s).map((p) => [p.promo_id, p.tries]), [[3, 1]]);
  assert.equal(s.notice, null);
  s = fold(s, later, later, later, later, later);
  assert.deepEqual([joinsToRepeat(s), at(s).joining, s.notice.kind], [[], undefined, "warn"]);
});

test("events the page does not know change nothing", () => {
  const s = start();
  assert.equal(fold(s, frame("fireworks", {})).places, s.places);
});
