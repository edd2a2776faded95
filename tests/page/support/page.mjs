// A person's browser. Every page notes what must never happen: console errors, exceptions, CSP violations.

import { createRequire } from "node:module";
import { readFile } from "node:fs/promises";
import { chromium } from "playwright-core";

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const ARGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--disable-quic", "--no-first-run"];

export function startBrowser() {
  return chromium.launch({ headless: true, executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ARGS });
}

/** `allow`: patterns of console lines that the test causes on purpose, such as a refused connection. */
export async function openPage(browser, { session, allow = [], colorScheme = "light", width = 1280, height = 900, ...more } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme, reducedMotion: "reduce", ...more });
  if (session) {
    await context.addInitScript((kept) => {
      // Only once: a test that logs out must stay logged out after a reload.
      if (sessionStorage.getItem("seeded")) return;
      sessionStorage.setItem("seeded", "1");
      localStorage.setItem("panicbuy.session", kept);
    }, JSON.stringify(session));
  }
  const page = await context.newPage();
  const troubles = [];
  page.on("console", (message) => {
    if (message.type() !== "error" && message.type() !== "warning") return;
    const line = `${message.text()} (${message.location().url})`;
    if (!allow.some((pattern) => pattern.test(line))) troubles.push(line);
  });
  page.on("pageerror", (error) => troubles.push(String(error)));
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      console.error(`CSP violation: ${event.violatedDirective} ${event.blockedURI}`);
    });
  });
  page.setDefaultTimeout(15_000);
  return { page, context, troubles };
}

/** A cut wire shows in the console whatever the page does about it. */
export const CUT = [/WebSocket connection to .* failed/, /ERR_(CONNECTION|EMPTY|SOCKET|NETWORK)/];
/** A 4xx answer shows in the console too. */
export const REFUSED = [/the server responded with a status of 4\d\d/];

export const phase = (page, name) => page.locator(`[data-phase="${name}"]`).waitFor();

export async function seriousViolations(page) {
  // Evaluated through the debugger: a script element would be stopped by the page's own policy.
  await page.evaluate(await readFile(AXE, "utf8"));
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes.slice(0, 3).map((node) => `${node.target} ${node.failureSummary}`).join(" | ")}`);
}

export function sidewaysScroll(page) {
  return page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
}
