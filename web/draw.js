// Checking the draw in the browser of whoever doubts it: recompute the promise, the own key, and the order
// of the whole list. Yields after every step so that the page can show how far it is.

const KEY_HEX_DIGITS = 13; // 52 bits: the most that a JavaScript number and a JSON number hold exactly

export const canCheck = (crypto = globalThis.crypto) => Boolean(crypto?.subtle);

export function bytesOfHex(hex) {
  if (!/^([0-9a-f]{2})+$/i.test(hex)) throw new Error("not hex");
  return Uint8Array.from(hex.match(/../g), (pair) => Number.parseInt(pair, 16));
}

export function hexOfBytes(buffer) {
  return [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export async function commitOf(seedHex, subtle = globalThis.crypto.subtle) {
  return hexOfBytes(await subtle.digest("SHA-256", bytesOfHex(seedHex)));
}

export async function keyOf(seedHex, promoId, userId, subtle = globalThis.crypto.subtle) {
  const secret = await subtle.importKey("raw", bytesOfHex(seedHex), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const mac = await subtle.sign("HMAC", secret, new TextEncoder().encode(`${promoId}:${userId}`));
  return hexOfBytes(mac).slice(0, KEY_HEX_DIGITS);
}

/** `{ordered, count, mine}` after one more page: numbers count from 1 without gaps, keys never go down. */
export function foldPage(before, page, ownKey) {
  let { ordered, count, lastKey, mine } = before;
  for (const { number, key } of page) {
    ordered = ordered && number === count + 1 && key.length === KEY_HEX_DIGITS && key >= lastKey;
    count += 1;
    lastKey = key;
    if (key === ownKey) mine = number;
  }
  return { ordered, count, lastKey, mine };
}

export const emptyList = { ordered: true, count: 0, lastKey: "", mine: null };

/** Most pages a check will read: a bound on what one click may cost. */
const MAX_PAGES = 2_000;

/**
 * Yields `{commit, ownKey, list, number, done}`, more complete each time.
 * `commit`: whether the seed is the promised one. `number`: the place the shop gave, if the page knows it.
 */
export async function* checkDraw({ promo, userId, number, readPage, subtle = globalThis.crypto.subtle }) {
  const commit = (await commitOf(promo.seed, subtle)) === promo.seed_commit.toLowerCase();
  const ownKey = userId ? await keyOf(promo.seed, promo.id, userId, subtle) : null;
  let list = emptyList;
  let after;
  yield { commit, ownKey, list, number, done: false };
  for (let pages = 0; pages < MAX_PAGES; pages += 1) {
    const page = await readPage(after);
    list = foldPage(list, page.data, ownKey);
    const done = page.next === null || page.next === undefined;
    yield { commit, ownKey, list, number, done };
    if (done) return;
    after = page.next;
  }
}

/** The verdict on the own place: `true`, `false`, or `null` when there is nothing to hold it against. */
export function ownPlaceHolds({ list, number, ownKey, done }) {
  if (!ownKey || !done) return null;
  const known = number !== undefined && number !== null;
  if (list.mine === null) return known && number <= list.count ? false : null;
  return known ? list.mine === number : true;
}
