// One server, one browser and one shop for a file of tests; every page is checked for trouble when it is closed.

import assert from "node:assert/strict";
import { after, before } from "node:test";
import { openPage, startBrowser } from "./page.mjs";
import { startServer } from "./server.mjs";
import { Shop } from "./shop.mjs";

export function suite() {
  const at = {};
  before(async () => {
    at.server = await startServer();
    at.url = at.server.url;
    at.shop = await new Shop(at.url).open();
    at.browser = await startBrowser();
  });
  after(async () => {
    await at.browser?.close();
    await at.server?.stop();
  });

  /** Opens a page for the length of one test: `use(page)`, then no console error, exception or CSP violation. */
  at.visit = async ({ hash = "#/", url = at.url, ...options }, use) => {
    const { page, context, troubles } = await openPage(at.browser, options);
    try {
      await page.goto(`${url}/${hash}`);
      await use(page);
      assert.deepEqual(troubles, []);
    } catch (error) {
      error.message += `\n${troubles.join("\n")}\non screen: ${await page.locator("body").innerText().catch(() => "nothing")}`;
      throw error;
    } finally {
      await context.close();
    }
  };
  return at;
}
