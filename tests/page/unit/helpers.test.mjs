// Formats, odds, titles, announcements, routes and the draw.

import assert from "node:assert/strict";
import { createHash, createHmac, webcrypto } from "node:crypto";
import { test } from "node:test";
import { checkDraw, commitOf, emptyList, foldPage, keyOf, ownPlaceHolds } from "../../../web/draw.js";
import { clock, localInput, money, percentOff, plural, roughly, spoken } from "../../../web/format.js";
import { href, parseRoute } from "../../../web/routes.js";
import { announce, titleOf } from "../../../web/says.js";
import { odds, standing } from "../../../web/select.js";
import { closedText, reasonText } from "../../../web/words.js";
import { T0, fold, frame, iso, loaded, place, promo, queue, start, welcome } from "./support.mjs";

test("money has the currency's own digits", () => {
  assert.equal(money(129_900, "EUR"), "€1,299.00");
  assert.equal(money(129_900, "JPY"), "¥129,900");
  assert.equal(money(1_299, "KWD").replace(/\s/u, " "), "KWD 1.299");
  assert.equal(money(0, "USD"), "$0.00");
});

test("a discount is never rounded up", () => {
  assert.equal(percentOff(10_000, 6_001), 39);
  assert.equal(percentOff(10_000, 10_000), 0);
});

test("clocks reach zero only when it is over", () => {
  assert.deepEqual([1, 1_000, 42_000, 725_000, 3_723_000, 183_600_000, 0, -5].map(clock), ["0:01", "0:01", "0:42", "12:05", "1:02:03", "2 d 3 h", "0:00", "0:00"]);
  assert.equal(spoken(62_000), "1 minute 2 seconds");
  assert.equal(spoken(0), "no time");
});

test("an estimate looks like one", () => {
  assert.deepEqual([3, 40, 90, 600, 3_600, 5_400, 7_150, Infinity].map(roughly),
    ["a few seconds", "less than a minute", "about 2 minutes", "about 10 minutes", "about 1 hour", "about 1 hour 30 minutes", "about 2 hours", "not known yet"]);
  assert.equal(plural(1, "person", "people"), "1 person");
  assert.equal(plural(1_200, "person", "people"), "1,200 people");
});

test("a datetime input gets local time", () => {
  assert.equal(new Date(localInput(T0)).getTime(), T0);
});

test("odds are the worst case", () => {
  assert.equal(odds({ ahead: 9, available: 10 }), "sure");
  assert.equal(odds({ ahead: 10, available: 10 }), "short");
  assert.equal(odds({ ahead: 5, available: 10, limit: 2 }), "likely");
  assert.equal(odds({ ahead: 0, available: 0 }), "none");
});

test("expected wait follows the rate; without one it is not known", () => {
  const s = fold(start(), loaded("promo:3", promo), welcome(), place({ phase: "queued", number: 21 }), queue({ head: 0 }));
  assert.deepEqual([standing(s, 3).ahead, standing(s, 3).eta_s, standing(s, 3).progress], [20, 10, 0]);
  assert.equal(standing(fold(s, queue({ rate_per_s: 0 })), 3).eta_s, Infinity);
});

test("routes go there and back", () => {
  for (const hash of ["#/", "#/login", "#/register", "#/orders", "#/profile", "#/admin", "#/item/4", "#/promo/3", "#/promo/3/draw"]) {
    assert.equal(href(parseRoute(hash)), hash);
  }
  for (const hash of ["#/promo/x", "#/promo/-1", "#nonsense"]) assert.equal(parseRoute(hash).name, "missing");
  assert.equal(parseRoute("").name, "sale");
  assert.deepEqual(parseRoute("#/promos/3"), { name: "promo", id: 3 }, "as the API spells it");
});

test("the title tells the phase, the most urgent first", () => {
  const before = fold(start(), loaded("promo:3", promo), welcome());
  const title = (...events) => titleOf(fold(before, ...events)).replace(" · PanicBuying", "");
  assert.equal(title(), "Flash sales");
  assert.equal(title(place({ phase: "lobby" })), "Opens in 1:00");
  assert.equal(title(place({ phase: "queued", number: 13 }), queue({ head: 2 })), "10 ahead of you");
  assert.equal(title(place({ phase: "admitted", pass_expires_at: iso(T0 + 42_000) })), "You're in — 0:42 to buy");
  assert.equal(title(place({ phase: "pending", order_id: "o", status: "pending" })), "Confirming your order");
  assert.equal(title(frame("outcome", { order_id: "o", promo_id: 3, status: "awaiting_payment", pay_before: iso(T0 + 90_000) })), "It's yours — 1:30 to pay");
  assert.equal(title(frame("state", { promo_id: 9, phase: "lobby" }), place({ phase: "admitted", pass_expires_at: iso(T0 + 1_000) })), "You're in — 0:01 to buy");
});

test("phase changes are announced at once, one's turn assertively", () => {
  const queued = fold(start({ route: { name: "promo", id: 3 } }), loaded("promo:3", promo), welcome(), place({ phase: "queued", number: 3, ahead: 2 }));
  const in_ = fold(queued, place({ phase: "admitted", number: 3, pass_expires_at: iso(T0 + 60_000) }));
  assert.match(announce(queued, in_).assertive, /your turn.*1 minute/);
  const lapsed = fold(in_, place({ phase: "none", reason: "pass_expired" }));
  assert.match(announce(in_, lapsed).assertive, /run out/);
});

test("progress is announced seldom, and only when there is some", () => {
  const at = (s, seconds, head) => fold(s, { type: "tick", at: T0 + seconds * 1000 }, { ...queue({ head }), at: T0 + seconds * 1000 });
  const s0 = fold(start({ route: { name: "promo", id: 3 } }), loaded("promo:3", promo), welcome(), place({ phase: "queued", number: 100, ahead: 99 }));
  const s1 = at(s0, 1, 1);
  const first = announce(s0, s1);
  assert.match(first.polite, /98 people ahead/);
  const s2 = at(s1, 5, 9);
  assert.equal(announce(s1, s2, first.memory).polite, null, "too soon");
  const s3 = at(s2, 17, 20);
  assert.match(announce(s2, s3, first.memory).polite, /79 people ahead/);
  const s4 = at(s3, 40, 20);
  const third = announce(s2, s3, first.memory);
  assert.equal(announce(s3, s4, third.memory).polite, null, "nothing new");
});

test("the last seconds of a pass are called out once each", () => {
  const s0 = fold(start(), loaded("promo:3", promo), welcome(), place({ phase: "admitted", number: 1, pass_expires_at: iso(T0 + 11_000) }));
  const s1 = fold(s0, { type: "tick", at: T0 + 1_000 });
  const s2 = fold(s1, { type: "tick", at: T0 + 2_000 });
  assert.equal(announce(s0, s1).assertive, "10 seconds left to buy.");
  assert.equal(announce(s1, s2).assertive, null);
});

test("lost and restored connections are announced politely", () => {
  const live = fold(start(), { type: "connection", status: "live", attempt: 0 });
  const waiting = fold(live, { type: "connection", status: "waiting", attempt: 1, retry_at: T0 });
  const connecting = fold(waiting, { type: "connection", status: "connecting", attempt: 1 });
  assert.match(announce(live, waiting).polite, /Reconnecting/);
  assert.match(announce(connecting, fold(connecting, { type: "connection", status: "live", attempt: 0 })).polite, /Connected again/);
});

test("every reason and every final close code has words of its own", () => {
  const reasons = ["not_ready", "not_started", "paused", "ended", "no_pass", "limit_reached", "sold_out", "rate_limited", "bad_request", "unavailable"];
  assert.equal(new Set(reasons.map(reasonText)).size, reasons.length);
  assert.equal(new Set([4500, 4501, 4502, 4999].map(closedText)).size, 4);
});

// --- the draw ---

const { subtle } = webcrypto;
const seed = "ab".repeat(32);
const nodeKey = (id) => createHmac("sha256", Buffer.from(seed, "hex")).update(`3:${id}`).digest("hex").slice(0, 13);

test("fingerprint and key are what any other implementation computes", async () => {
  assert.equal(await commitOf(seed, subtle), createHash("sha256").update(Buffer.from(seed, "hex")).digest("hex"));
  assert.equal(await keyOf(seed, 3, 7, subtle), nodeKey(7));
});

const sortedKeys = [1, 2, 7, 9, 12].map((id) => [nodeKey(id), id]).sort(([a], [b]) => (a < b ? -1 : 1));
const list = sortedKeys.map(([key], i) => ({ number: i + 1, key }));
const mine = sortedKeys.findIndex(([, id]) => id === 7) + 1;

async function check({ data = list, number = mine, userId = 7, commit = createHash("sha256").update(Buffer.from(seed, "hex")).digest("hex") } = {}) {
  const readPage = async (after = 0) => {
    const next = after + 2;
    return { data: data.slice(after, next), next: next < data.length ? next : null };
  };
  let last;
  for await (const step of checkDraw({ promo: { id: 3, seed, seed_commit: commit }, userId, number, readPage, subtle })) last = step;
  return last;
}

test("an honest draw holds, page by page", async () => {
  const result = await check();
  assert.deepEqual([result.commit, result.list.ordered, result.list.count, result.list.mine], [true, true, 5, mine]);
  assert.equal(ownPlaceHolds(result), true);
});

test("another seed, another place, another order are all noticed", async () => {
  assert.equal((await check({ commit: "00".repeat(32) })).commit, false);
  assert.equal(ownPlaceHolds(await check({ number: (mine % 5) + 1 })), false);
  const swapped = [list[1], list[0], ...list.slice(2)].map(({ key }, i) => ({ number: i + 1, key }));
  assert.equal((await check({ data: swapped })).list.ordered, false);
  assert.equal(foldPage(emptyList, [{ number: 2, key: list[0].key }], null).ordered, false, "a missing first entry");
});

test("who was not in the lobby has nothing to check", async () => {
  assert.equal(ownPlaceHolds(await check({ userId: 99, number: 6 })), null);
  assert.equal(ownPlaceHolds(await check({ userId: 99, number: 2 })), false, "a drawn number without a key");
  assert.equal(ownPlaceHolds(await check({ number: 6 })), false, "drawn, but sent to the end");
  assert.equal(ownPlaceHolds(await check({ userId: null, number: undefined })), null);
});
