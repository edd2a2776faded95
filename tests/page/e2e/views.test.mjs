// Every state, by day and by night, on a desk and in a hand: reachable for everybody, and quiet in the console.

import assert from "node:assert/strict";
import { test } from "node:test";
import { seriousViolations, sidewaysScroll } from "../support/page.mjs";
import { STATES, stockTheShop, visitState } from "../support/states.mjs";
import { suite } from "../support/suite.mjs";

const at = suite();
let street;

for (const name of STATES) {
  test(`${name}: accessible in light and dark, and as narrow as 360 pixels`, async () => {
    street ??= await stockTheShop(at.shop);
    await visitState(name, { ...at, street }, async (page) => {
      for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
        assert.deepEqual(await seriousViolations(page), [], colorScheme);
      }
      for (const width of [360, 390]) {
        await page.setViewportSize({ width, height: 740 });
        assert.equal(await sidewaysScroll(page), 0, `${width} pixels`);
      }
      assert.equal(await page.locator("h1").count(), 1);
    });
  });
}

test("the check of the draw finds everything fair, and knows the own place", async () => {
  street ??= await stockTheShop(at.shop);
  await visitState("draw", { ...at, street }, async (page) => {
    assert.equal(await page.locator("[data-verdict=fair]").count(), 1);
    assert.equal(await page.locator("[data-check=yes]").count(), 3);
  });
});

test("a new view starts at its heading", async () => {
  await at.visit({}, async (page) => {
    await page.getByRole("link", { name: "Log in" }).click();
    await page.waitForFunction(() => document.activeElement?.textContent === "Log in" && document.activeElement.tagName === "H1");
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.name), "email");
  });
});
