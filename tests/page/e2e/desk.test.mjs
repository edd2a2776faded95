// The shop desk: from an item to a sale that is paused, changed, audited and ended, all through the page.

import assert from "node:assert/strict";
import { test } from "node:test";
import { phase } from "../support/page.mjs";
import { suite } from "../support/suite.mjs";

const at = suite();
const session = async () => ({
  token: at.shop.token,
  expires_at: new Date(Date.now() + 3_600_000).toISOString(),
  user: await at.shop.call("GET", "/users/me"),
});
const local = (ms) => new Date(ms - new Date(ms).getTimezoneOffset() * 60_000).toISOString().slice(0, 19);

test("an item is made, restocked and put on sale", async () => {
  await at.visit({ session: await session(), hash: "#/admin" }, async (page) => {
    await page.getByText("New item").click();
    const item = page.getByRole("form", { name: "New item" });
    await item.getByLabel("Title").fill("Desk lamp");
    await item.getByLabel("List price").fill("9900");
    await item.getByLabel("Stock").fill("20");
    await item.getByRole("button", { name: "Create item" }).click();
    const row = page.locator("[data-item]", { hasText: "Desk lamp" });
    await row.getByText("20 available").waitFor();
    await row.getByText("Change the stock").click();
    await row.getByLabel("Units").fill("5");
    await row.getByRole("button", { name: "Add to stock" }).click();
    await row.getByText("25 available").waitFor();

    await page.getByText("New sale").click();
    const sale = page.getByRole("form", { name: "New sale" });
    await sale.getByLabel("Item").selectOption({ label: "Desk lamp" });
    await sale.getByLabel("Title").fill("Lamp hour");
    await sale.getByLabel("Sale price").fill("4900");
    await sale.getByLabel("Units").fill("10");
    await sale.getByLabel("Opens").fill(local(Date.now() + 6_000));
    await sale.getByLabel("Ends").fill(local(Date.now() + 3_600_000));
    await sale.getByRole("button", { name: "Create draft" }).click();
    const promo = page.locator("[data-promo]", { hasText: "Lamp hour" });
    await promo.getByRole("button", { name: "Publish" }).click();
    await promo.getByRole("button", { name: "Pause" }).waitFor();
    await promo.getByRole("button", { name: "Pause" }).click();
    await promo.getByRole("button", { name: "Resume" }).click();
    await promo.getByText("Waiting room and audit").click();
    await promo.getByLabel("Calls per second").fill("7");
    await promo.getByRole("button", { name: "Change" }).click();
    await promo.getByText("Waiting room changed.").waitFor();
    await promo.getByRole("button", { name: "Audit" }).click();
    await promo.locator("[data-audit=ok]").waitFor();
    await promo.getByRole("button", { name: "End" }).click();
    await promo.getByRole("button", { name: "Yes, end it" }).click();
    await promo.locator(".chip.ended").waitFor();
    await row.getByText("25 available").waitFor();
  });
  const promos = (await at.shop.call("GET", "/promos")).data;
  assert.equal(promos.find((promo) => promo.title === "Lamp hour").admission.rate_per_s, 7);
});

test("a pause reaches those who wait, and so does its end", async () => {
  const promo = await at.shop.promo({ opensIn: 300 });
  const { session: shopper } = await at.shop.shopper();
  await at.visit({ session: shopper, hash: `#/promo/${promo.id}` }, async (page) => {
    await page.getByRole("button", { name: "Join the queue" }).waitFor();
    await at.shop.call("POST", `/promos/${promo.id}/pause`);
    await page.getByRole("heading", { name: "The sale is paused" }).waitFor();
    await at.shop.call("POST", `/promos/${promo.id}/resume`);
    await page.getByRole("button", { name: "Join the queue" }).click();
    await phase(page, "admitted");
    await at.shop.call("POST", `/promos/${promo.id}/end`);
    await page.getByRole("heading", { name: "This sale has ended" }).waitFor();
  });
});

test("a pause stops the clock of a pass, and the turn goes on afterwards", async () => {
  const promo = await at.shop.promo({ opensIn: 300, admission: { pass_ttl_ms: 4_000 } });
  const { session: shopper } = await at.shop.shopper();
  await at.visit({ session: shopper, hash: `#/promo/${promo.id}` }, async (page) => {
    await page.getByRole("button", { name: /^Join the/ }).click();
    await phase(page, "admitted");
    await at.shop.call("POST", `/promos/${promo.id}/pause`);
    await page.getByRole("heading", { name: "It's your turn, and the sale is paused" }).waitFor();
    assert.match(await page.title(), /^Paused/);
    // Longer than the pass had left when it was stopped.
    await page.waitForFunction((until) => Date.now() > until, Date.now() + 4_500);
    await phase(page, "admitted");
    await at.shop.call("POST", `/promos/${promo.id}/resume`);
    await page.locator("[data-buy]").click();
    await phase(page, "confirmed");
  });
});

test("the desk is closed to shoppers", async () => {
  const { session: shopper } = await at.shop.shopper();
  await at.visit({ session: shopper, hash: "#/admin" }, async (page) => {
    await page.getByText("This part is for the people who run the shop.").waitFor();
    assert.equal(await page.getByRole("link", { name: "Shop desk" }).count(), 0);
  });
});
