// Pictures of every state, on a desk and in a hand, by day and by night: `node screenshots.mjs <folder> [name…]`.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { openPage, startBrowser } from "./support/page.mjs";
import { startServer } from "./support/server.mjs";
import { Shop } from "./support/shop.mjs";
import { visitStates } from "./support/states.mjs";

const SCREENS = {
  "desktop-light": { width: 1280, height: 900, colorScheme: "light" },
  "desktop-dark": { width: 1280, height: 900, colorScheme: "dark" },
  "phone-light": { width: 390, height: 844, colorScheme: "light" },
  "phone-dark": { width: 390, height: 844, colorScheme: "dark" },
};

const [folder, ...only] = process.argv.slice(2);
if (!folder) {
  console.error("usage: node screenshots.mjs <folder> [state…]");
  process.exit(2);
}
await mkdir(folder, { recursive: true });
const browser = await startBrowser();
let server;
try {
  server = await startServer();
  const shop = await new Shop(server.url).open();
  await visitStates({ url: server.url, shop, browser, only }, async (name, page) => {
    for (const [screen, { width, height, colorScheme }] of Object.entries(SCREENS)) {
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await page.screenshot({ path: join(folder, `${name}-${screen}.png`), fullPage: true });
    }
    console.log(name);
  });
} finally {
  await browser.close();
  await server?.stop();
}
