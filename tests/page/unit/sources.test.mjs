// Guards on the page as a whole that need no browser.

import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "node:test";

const WEB = fileURLToPath(new URL("../../../web/", import.meta.url));

async function sources(folder = WEB) {
  const found = [];
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) found.push(...(await sources(path)));
    else if (/\.(js|html|css)$/.test(entry.name)) found.push([path.slice(WEB.length), await readFile(path, "utf8")]);
  }
  return found;
}

test("no markup is ever made from strings, and no style or script is inline", async () => {
  for (const [name, text] of await sources()) {
    assert.doesNotMatch(text, /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(/, name);
    if (name.endsWith(".html")) assert.doesNotMatch(text, /<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=/i, name);
  }
});

test("nothing is loaded from anywhere else", async () => {
  for (const [name, text] of await sources()) assert.doesNotMatch(text, /(?:src|href|import|url\()\s*=?\s*["'(]?https?:/, name);
});

test("files stay readable in one sitting", async () => {
  for (const [name, text] of await sources()) assert.ok(text.split("\n").length <= 400, `${name} is too long`);
});
