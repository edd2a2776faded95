// Leads one person through every state of the page and lets `look(name, page)` look at each.
// Used for the accessibility checks and for the screenshots, so that both see the same things.

import { openPage, phase, REFUSED } from "./page.mjs";
import { shopperSocket } from "./socket.mjs";

const HOUR = 3_600_000;
const GOODS = [
  ["Aurora runner", "/img/sneaker.svg", 12_900, 7_900, "A light everyday shoe with a knitted upper, a cork insole and a sole that is still quiet after a thousand kilometres."],
  ["Halo headphones", "/img/headphones.svg", 34_900, 22_900, "Closed, comfortable, forty hours of music."],
  ["Pocket console", "/img/console.svg", 29_900, 24_900, "Every evening's second screen."],
  ["Kvarter watch", "/img/watch.svg", 48_000, null, "A calm dial, a slow second hand, a strap that ages well."],
  ["Field camera", "/img/camera.svg", 89_900, null, "Fixed lens, real dials."],
  ["Morning kettle", "/img/kettle.svg", 7_900, null, "Boils a litre in three minutes and keeps it warm."],
];

export async function visitStates({ only = [], ...at }, look) {
  const street = await stockTheShop(at.shop);
  for (const name of STATES) {
    if (only.length === 0 || only.includes(name)) await visitState(name, { ...at, street }, (page) => look(name, page));
  }
}

/** Afterwards the console must have been quiet, but for the answers that the visit provokes on purpose. */
export async function visitState(name, { url, shop, browser, street }, look) {
  const visit = VISITS[name];
  const session = visit.admin ? await adminSession(shop) : visit.visitor ? undefined : (await shop.shopper("Mira")).session;
  const { page, context, troubles } = await openPage(browser, { session, allow: visit.allow });
  const helpers = [];
  try {
    await visit.go({ page, url, shop, street, helpers });
    await look(page);
    if (troubles.length > 0) throw new Error("there was trouble in the console");
  } catch (error) {
    error.message = `${name}: ${error.message}\n${troubles.join("\n")}\non screen: ${await page.locator("body").innerText().catch(() => "nothing")}`;
    throw error;
  } finally {
    for (const helper of helpers) helper.close();
    await context.close();
  }
}

export async function stockTheShop(shop) {
  const items = [];
  for (const [title, image_url, price_minor, , description] of GOODS) {
    items.push(await shop.item({ title, image_url, price_minor, description, stock: 5_000 }));
  }
  const at = (i, more) => shop.promo({ item_id: items[i].id, title: GOODS[i][0], price_minor: GOODS[i][3], ...more });
  const lobby = await at(0, { opensIn: HOUR / 5, stock: 500 });
  const ongoing = await at(1, { opensIn: 1200, stock: 120 });
  const later = await at(2, { opensIn: 30 * HOUR, stock: 60 });
  return { items, lobby, ongoing, later };
}

async function adminSession(shop) {
  const user = await shop.call("GET", "/users/me");
  return { token: shop.token, expires_at: new Date(Date.now() + HOUR).toISOString(), user };
}

const goto = (page, url, hash) => page.goto(`${url}/${hash}`);

/** An opened sale of its own for one visit, so that visits do not stand in each other's queues. */
async function ownSale({ shop }, more = {}) {
  const [title, image_url, price_minor, , description] = GOODS[0];
  const item = await shop.item({ title, image_url, price_minor, description, stock: 500 });
  return shop.promo({ item_id: item.id, title, stock: 20, opensIn: 1200, ...more });
}

async function toAdmitted(at, more) {
  const promo = await ownSale(at, more);
  await goto(at.page, at.url, `#/promo/${promo.id}`);
  await at.page.getByRole("button", { name: /^Join the/ }).click();
  await phase(at.page, "admitted");
  return promo;
}

async function toConfirmed(at, more) {
  const promo = await toAdmitted(at, more);
  await at.page.locator("[data-buy]").click();
  await phase(at.page, "confirmed");
  await at.page.locator(".panel .count").waitFor();
  return promo;
}

async function toQueued(at, { ahead, ...more }) {
  const promo = await ownSale(at, { opensIn: 2500, ...more, admission: { rate_per_s: 1, max_active: 1, ...more.admission } });
  for (let i = 0; i < ahead; i += 1) {
    const other = await shopperSocket(at.url, (await at.shop.shopper("Other")).session);
    at.helpers.push(other);
    await other.join(promo.id);
    if (i === ahead - 1) await other.until((frame) => frame.type === "state" && frame.promo_id === promo.id && frame.phase !== "lobby");
  }
  await goto(at.page, at.url, `#/promo/${promo.id}`);
  await at.page.getByRole("button", { name: /^Join the queue/ }).click();
  await phase(at.page, "queued");
  return promo;
}

const VISITS = {
  "sales": { visitor: true, async go({ page, url }) {
    await goto(page, url, "#/");
    await page.getByRole("heading", { name: "On sale" }).waitFor();
    await page.locator(".chip.ongoing").waitFor();
  } },
  "login": { visitor: true, go: ({ page, url }) => goto(page, url, "#/login") },
  "register-errors": { visitor: true, allow: REFUSED, async go({ page, url }) {
    await goto(page, url, "#/register");
    await page.getByLabel("Email").fill("not an address");
    await page.getByLabel("Password").fill("short");
    await page.getByRole("button", { name: "Create account" }).click();
    await page.locator(".field-error, .form-error").first().waitFor();
  } },
  "scheduled": { visitor: true, async go({ page, url, street }) {
    await goto(page, url, `#/promo/${street.lobby.id}`);
    await page.getByRole("link", { name: "Log in to join" }).waitFor();
    await page.locator(".crowd").waitFor();
  } },
  "lobby": { async go({ page, url, street }) {
    await goto(page, url, `#/promo/${street.lobby.id}`);
    await page.getByRole("button", { name: "Join the lobby" }).click();
    await phase(page, "lobby");
  } },
  "queued": { go: (at) => toQueued(at, { ahead: 4, stock: 3 }) },
  "admitted": { go: (at) => toAdmitted(at) },
  "refused": { async go(at) {
    await toAdmitted(at, { stock: 1, per_user_limit: 2 });
    await at.page.getByLabel("Quantity").selectOption("2");
    await at.page.locator("[data-buy]").click();
    await at.page.locator("[data-refused=sold_out]").waitFor();
  } },
  "paused-turn": { async go(at) {
    const promo = await toAdmitted(at);
    await at.shop.call("POST", `/promos/${promo.id}/pause`);
    await at.page.getByRole("heading", { name: "It's your turn, and the sale is paused" }).waitFor();
  } },
  "confirmed": { go: (at) => toConfirmed(at) },
  "confirmed-cancel": { async go(at) {
    await toConfirmed(at);
    await at.page.getByRole("button", { name: "Cancel the order" }).click();
    await at.page.getByRole("button", { name: "Yes, cancel it" }).waitFor();
  } },
  "paid": { async go(at) {
    await toConfirmed(at);
    await at.page.locator("[data-pay]").click();
    await at.page.getByRole("heading", { name: "Paid. Thank you!" }).waitFor();
  } },
  "expired": { async go(at) {
    await toConfirmed(at, { payment_window_ms: 2_000 });
    await at.page.getByRole("heading", { name: "Your order has lapsed" }).waitFor();
  } },
  "ended": { async go(at) {
    const promo = await ownSale(at);
    await goto(at.page, at.url, `#/promo/${promo.id}`);
    await at.page.getByRole("button", { name: "Join the queue" }).waitFor();
    await at.shop.call("POST", `/promos/${promo.id}/end`);
    await at.page.getByRole("heading", { name: "This sale has ended" }).waitFor();
    await at.page.getByRole("link", { name: /Buy at list price/ }).waitFor();
  } },
  "draw": { async go(at) {
    const promo = await ownSale(at, { opensIn: 4000 });
    for (let i = 0; i < 3; i += 1) {
      const other = await shopperSocket(at.url, (await at.shop.shopper("Other")).session);
      at.helpers.push(other);
      await other.join(promo.id);
    }
    await goto(at.page, at.url, `#/promo/${promo.id}`);
    await at.page.getByRole("button", { name: "Join the lobby" }).click();
    await phase(at.page, "admitted");
    await at.page.getByRole("link", { name: "Check the draw yourself" }).click();
    await at.page.getByRole("button", { name: "Check now" }).click();
    await at.page.locator("[data-verdict]").waitFor();
  } },
  "item": { async go({ page, url, street }) {
    await goto(page, url, `#/item/${street.items[3].id}`);
    await page.getByRole("button", { name: "Order now" }).waitFor();
  } },
  "orders": { async go(at) {
    await toConfirmed(at);
    const item = at.street.items[5];
    await goto(at.page, at.url, `#/item/${item.id}`);
    await at.page.getByRole("button", { name: "Order now" }).click();
    await at.page.locator("[data-pay]").click();
    await at.page.getByRole("heading", { name: "Paid. Thank you!" }).waitFor();
    await at.page.getByRole("link", { name: "My orders" }).first().click();
    await at.page.locator("[data-status=awaiting_payment]").waitFor();
  } },
  "profile": { go: ({ page, url }) => goto(page, url, "#/profile") },
  "shop-desk": { admin: true, async go({ page, url }) {
    await goto(page, url, "#/admin");
    const row = page.locator("[data-promo]").first();
    await row.locator("summary").click();
    await row.getByRole("button", { name: "Audit" }).click();
    await page.locator("[data-audit]").waitFor();
  } },
  "missing": { visitor: true, go: ({ page, url }) => goto(page, url, "#/nowhere") },
};

export const STATES = Object.keys(VISITS);
