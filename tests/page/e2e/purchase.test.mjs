// A person buys: the whole way through the page, with mouse and with keyboard alone.

import assert from "node:assert/strict";
import { test } from "node:test";
import { phase, REFUSED } from "../support/page.mjs";
import { suite } from "../support/suite.mjs";

const at = suite();
const heading = (page, name) => page.getByRole("heading", { name }).waitFor();

test("a person registers, joins, is admitted, buys and pays", async () => {
  const promo = await at.shop.promo({ opensIn: 4_000 });
  await at.visit({ allow: REFUSED }, async (page) => {
    await page.getByRole("link", { name: promo.title }).first().click();
    await page.getByRole("link", { name: "Log in to join" }).click();
    await page.getByRole("link", { name: "Create an account" }).click();
    await page.getByRole("button", { name: "Create account" }).click();
    await page.locator("[aria-invalid=true]").first().waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.getAttribute("aria-invalid")), "true", "the first wrong field has the focus");
    await page.getByLabel("Name").fill("Mira");
    await page.getByLabel("Email").fill(`mira-${promo.id}@mail.example`);
    await page.getByLabel("Password").fill("a long enough password");
    await page.getByRole("button", { name: "Create account" }).click();
    // Back where they came from, without having to find the sale again.
    await page.getByRole("button", { name: /^Join the/ }).click();
    await phase(page, "admitted");
    assert.match(await page.title(), /^You're in — \d:\d\d to buy/);
    await page.locator("[data-buy]").click();
    await phase(page, "confirmed");
    await page.locator("[data-pay]").click();
    await heading(page, "Paid. Thank you!");
    await page.getByRole("link", { name: "My orders" }).first().click();
    await page.locator("[data-status=paid]").waitFor();
  });
  const audit = await at.shop.audit(promo.id);
  assert.equal(audit.ok, true);
});

test("the keyboard alone is enough to buy and pay", async () => {
  const promo = await at.shop.promo({ opensIn: 300 });
  const { session } = await at.shop.shopper();
  await at.visit({ session, hash: `#/promo/${promo.id}` }, async (page) => {
    const press = (name) => tabTo(page, name).then(() => page.keyboard.press("Enter"));
    await press(/^Join the/);
    await phase(page, "admitted");
    await press(/^Buy now/);
    await phase(page, "confirmed");
    await press(/^Pay /);
    await heading(page, "Paid. Thank you!");
  });
});

async function tabTo(page, name) {
  await page.getByRole("button", { name }).waitFor();
  for (let i = 0; i < 40; i += 1) {
    await page.keyboard.press("Tab");
    const text = await page.evaluate(() => document.activeElement.textContent.trim());
    if (name.test(text)) return;
  }
  assert.fail(`the keyboard does not reach ${name}`);
}

test("a reload keeps the place in the lobby and in the queue", async () => {
  const lobby = await at.shop.promo({ opensIn: 3_600_000 });
  const queue = await at.shop.promo({ opensIn: 300, admission: { rate_per_s: 1, max_active: 1 } });
  const first = await at.shop.shopper("First");
  const second = await at.shop.shopper("Second");
  await at.visit({ session: first.session, hash: `#/promo/${queue.id}` }, async (one) => {
    await one.getByRole("button", { name: /^Join the/ }).click();
    await one.locator("[data-phase=queued], [data-phase=admitted]").waitFor();
    await at.visit({ session: second.session, hash: `#/promo/${queue.id}` }, async (page) => {
      await page.getByRole("button", { name: "Join the queue" }).click();
      await phase(page, "queued");
      const number = () => page.locator(".facts.inline dd").first().innerText();
      const before = await number();
      await page.reload();
      await phase(page, "queued");
      assert.equal(await number(), before);
      await page.goto(`${at.url}/#/promo/${lobby.id}`);
      await page.getByRole("button", { name: "Join the lobby" }).click();
      await phase(page, "lobby");
      await page.reload();
      await phase(page, "lobby");
    });
  });
});

test("two tabs of one person show the same place", async () => {
  const promo = await at.shop.promo({ opensIn: 300 });
  const { session } = await at.shop.shopper();
  await at.visit({ session, hash: `#/promo/${promo.id}` }, async (page) => {
    const tab = await page.context().newPage();
    await tab.goto(`${at.url}/#/promo/${promo.id}`);
    await tab.getByRole("button", { name: /^Join the/ }).waitFor();
    await page.getByRole("button", { name: /^Join the/ }).click();
    await phase(page, "admitted");
    await phase(tab, "admitted");
    await tab.locator("[data-buy]").click();
    await phase(page, "confirmed");
    await page.locator("[data-pay]").click();
    await heading(tab, "Paid. Thank you!");
  });
});

test("an unpaid order lapses, says so, and one can join again", async () => {
  const promo = await at.shop.promo({ opensIn: 300, payment_window_ms: 1_500 });
  const { session } = await at.shop.shopper();
  await at.visit({ session, hash: `#/promo/${promo.id}` }, async (page) => {
    await page.getByRole("button", { name: /^Join the/ }).click();
    await phase(page, "admitted");
    await page.locator("[data-buy]").click();
    await heading(page, "Your order has lapsed");
    await page.getByRole("button", { name: "Join again" }).click();
    await phase(page, "admitted");
  });
});

test("an unused pass runs out and says so", async () => {
  const promo = await at.shop.promo({ opensIn: 300, admission: { pass_ttl_ms: 1_500 } });
  const { session } = await at.shop.shopper();
  await at.visit({ session, hash: `#/promo/${promo.id}` }, async (page) => {
    await page.getByRole("button", { name: /^Join the/ }).click();
    await heading(page, "Your turn has passed");
  });
});

test("a cancelled order gives its unit back", async () => {
  const promo = await at.shop.promo({ opensIn: 300, stock: 1 });
  const { session } = await at.shop.shopper();
  await at.visit({ session, hash: `#/promo/${promo.id}` }, async (page) => {
    await page.getByRole("button", { name: /^Join the/ }).click();
    await phase(page, "admitted");
    await page.locator("[data-buy]").click();
    await phase(page, "confirmed");
    await page.getByText("0 of 1 unit left").waitFor({ state: "detached" });
    await page.getByRole("button", { name: "Cancel the order" }).click();
    await page.getByRole("button", { name: "Yes, cancel it" }).click();
    await heading(page, "Your order is cancelled");
    await page.getByText("1 of 1 unit left").waitFor();
  });
});

test("where two may be bought, a second turn follows the first, and no third", async () => {
  const promo = await at.shop.promo({ opensIn: 300, per_user_limit: 2 });
  const { session } = await at.shop.shopper();
  await at.visit({ session, hash: `#/promo/${promo.id}` }, async (page) => {
    await page.getByRole("button", { name: /^Join the/ }).click();
    for (const turn of [1, 2]) {
      await phase(page, "admitted");
      assert.equal(await page.getByLabel("Quantity").count(), turn === 1 ? 1 : 0);
      await page.locator("[data-buy]").click();
      await phase(page, "confirmed");
      await page.locator("[data-pay]").click();
      await heading(page, "Paid. Thank you!");
      if (turn === 1) await page.getByRole("button", { name: "Join again" }).click();
    }
    await page.getByRole("link", { name: "Other sales" }).waitFor();
    assert.equal(await page.getByRole("button", { name: "Join again" }).count(), 0);
  });
});

test("a place given up is gone, after being asked twice", async () => {
  const promo = await at.shop.promo({ opensIn: 3_600_000 });
  const { session } = await at.shop.shopper();
  await at.visit({ session, hash: `#/promo/${promo.id}` }, async (page) => {
    await page.getByRole("button", { name: "Join the lobby" }).click();
    await phase(page, "lobby");
    await page.getByRole("button", { name: "Leave the lobby" }).click();
    await page.getByRole("button", { name: "Yes, give it up" }).click();
    await page.getByRole("button", { name: "Join the lobby" }).waitFor();
  });
});

test("an item outside a sale is bought at list price, several at once", async () => {
  const item = await at.shop.item({ title: "Morning kettle", image_url: "/img/kettle.svg", price_minor: 5_000, stock: 9 });
  const { session } = await at.shop.shopper();
  await at.visit({ session, hash: `#/item/${item.id}` }, async (page) => {
    await page.getByLabel("Quantity").selectOption("2");
    await page.getByRole("button", { name: "Order now" }).click();
    await page.getByRole("button", { name: /^Pay .*100\.00 now/ }).click();
    await heading(page, "Paid. Thank you!");
  });
  const [order] = await at.shop.orders(session);
  assert.deepEqual([order.quantity, order.total_minor, order.status], [2, 10_000, "paid"]);
});
