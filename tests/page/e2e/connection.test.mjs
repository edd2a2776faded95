// The wire is cut, the server dies, the session ends: the person keeps what was theirs.

import assert from "node:assert/strict";
import { test } from "node:test";
import { CUT, phase, REFUSED } from "../support/page.mjs";
import { startProxy } from "../support/proxy.mjs";
import { startServer } from "../support/server.mjs";
import { Shop } from "../support/shop.mjs";
import { shopperSocket } from "../support/socket.mjs";
import { suite } from "../support/suite.mjs";

const at = suite();
const reconnecting = (page) => page.locator("[data-connection=reconnecting]");

test("a cut connection shows that it reconnects, and keeps the place", async () => {
  const promo = await at.shop.promo({ opensIn: 3_600_000 });
  const { session } = await at.shop.shopper();
  const proxy = await startProxy(at.server.port);
  try {
    await at.visit({ session, url: proxy.url, hash: `#/promo/${promo.id}`, allow: CUT }, async (page) => {
      await page.getByRole("button", { name: "Join the lobby" }).click();
      await phase(page, "lobby");
      proxy.cut();
      await reconnecting(page).waitFor();
      await page.getByText("Your place is kept meanwhile.").waitFor();
      await phase(page, "lobby");
      proxy.mend();
      await reconnecting(page).waitFor({ state: "detached" });
      await phase(page, "lobby");
    });
  } finally {
    proxy.close();
  }
});

test("a connection that falls silent without closing is noticed and replaced", async () => {
  const server = await startServer({ args: ["--heartbeat-ms", "500"] });
  const proxy = await startProxy(server.port);
  try {
    const shop = await new Shop(server.url).open();
    const promo = await shop.promo({ opensIn: 3_600_000 });
    const { session } = await shop.shopper();
    await at.visit({ session, url: proxy.url, hash: `#/promo/${promo.id}`, allow: CUT }, async (page) => {
      await page.getByRole("button", { name: "Join the lobby" }).click();
      await phase(page, "lobby");
      const replaced = nextWelcome(page);
      proxy.silence();
      assert.equal(await replaced, true);
      await reconnecting(page).waitFor({ state: "detached" });
      await phase(page, "lobby");
    });
  } finally {
    proxy.close();
    await server.stop();
  }
});

test("an order whose answer was cut off is answered after the reconnect, once", async () => {
  const promo = await at.shop.promo({ opensIn: 300, stock: 5 });
  const { session } = await at.shop.shopper();
  const proxy = await startProxy(at.server.port);
  try {
    await at.visit({ session, url: proxy.url, hash: `#/promo/${promo.id}`, allow: CUT }, async (page) => {
      await page.getByRole("button", { name: /^Join the/ }).click();
      await phase(page, "admitted");
      const cut = proxy.cutBefore((text) => /"(accepted|pending)"/.test(text));
      await page.locator("[data-buy]").click();
      await cut;
      await reconnecting(page).waitFor();
      const [request] = await page.evaluate(() => JSON.parse(sessionStorage.getItem("panicbuy.requests")));
      const repeated = new Promise((settle) => page.on("websocket", (socket) => {
        socket.on("framesent", ({ payload }) => {
          const frame = JSON.parse(payload);
          if (frame.type === "order") settle(frame);
        });
      }));
      proxy.mend();
      assert.equal((await repeated).request_id, request.request_id, "the same request, not another one");
      await phase(page, "confirmed");
      await page.locator("[data-pay]").click();
      await page.getByRole("heading", { name: "Paid. Thank you!" }).waitFor();
      assert.equal(await page.evaluate(() => sessionStorage.getItem("panicbuy.requests")), null);
    });
  } finally {
    proxy.close();
  }
  assert.equal((await at.shop.orders(session)).length, 1);
  const audit = await at.shop.audit(promo.id);
  assert.equal(audit.ok, true);
  assert.equal((await at.shop.call("GET", `/promos/${promo.id}`)).available, 4);
});

test("an order that is not answered for a while is not left without a word", async () => {
  const promo = await at.shop.promo({ opensIn: 300, stock: 5 });
  const { session } = await at.shop.shopper();
  const proxy = await startProxy(at.server.port);
  try {
    await at.visit({ session, url: proxy.url, hash: `#/promo/${promo.id}`, allow: CUT }, async (page) => {
      await page.getByRole("button", { name: /^Join/ }).click();
      await phase(page, "admitted");
      proxy.silence();
      await page.locator("[data-buy]").click();
      await page.locator("[data-hold-on]").waitFor();
      proxy.cut();
      proxy.mend();
      await phase(page, "confirmed");
      assert.equal(await page.locator("[data-hold-on]").count(), 0);
    });
    assert.equal((await at.shop.orders(session)).length, 1);
  } finally {
    proxy.close();
  }
});

test("a reload while the answer is out repeats the same order", async () => {
  const promo = await at.shop.promo({ opensIn: 300, stock: 5 });
  const { session } = await at.shop.shopper();
  const proxy = await startProxy(at.server.port);
  try {
    await at.visit({ session, url: proxy.url, hash: `#/promo/${promo.id}`, allow: CUT }, async (page) => {
      await page.getByRole("button", { name: /^Join the/ }).click();
      await phase(page, "admitted");
      const cut = proxy.cutBefore((text) => /"(accepted|pending)"/.test(text));
      await page.locator("[data-buy]").click();
      await cut;
      await reconnecting(page).waitFor();
      proxy.mend();
      await page.reload();
      await phase(page, "confirmed");
    });
  } finally {
    proxy.close();
  }
  assert.equal((await at.shop.orders(session)).length, 1);
});

test("a killed and restarted server finds the same people in the lobby, without a click", async () => {
  const first = await startServer();
  const shop = await new Shop(first.url).open();
  const promo = await shop.promo({ opensIn: 3_600_000 });
  const { session } = await shop.shopper();
  let second;
  try {
    await at.visit({ session, url: first.url, hash: `#/promo/${promo.id}`, allow: CUT }, async (page) => {
      await page.getByRole("button", { name: "Join the lobby" }).click();
      await phase(page, "lobby");
      await first.kill();
      await reconnecting(page).waitFor();
      second = await startServer({ port: first.port, dir: first.home });
      await reconnecting(page).waitFor({ state: "detached" });
      await phase(page, "lobby");
    });
  } finally {
    await (second ?? first).stop();
  }
});

test("a planned restart says so, and loses nobody", async () => {
  const args = ["--reconnect-spread-ms", "300"];
  const first = await startServer({ args });
  const shop = await new Shop(first.url).open();
  const promo = await shop.promo({ opensIn: 3_600_000 });
  const { session } = await shop.shopper();
  let second;
  try {
    await at.visit({ session, url: first.url, hash: `#/promo/${promo.id}`, allow: CUT }, async (page) => {
      await page.getByRole("button", { name: "Join the lobby" }).click();
      await phase(page, "lobby");
      await first.stop({ keep: true });
      await page.getByText("The shop is restarting. Reconnecting.", { exact: true }).waitFor({ state: "attached" });
      second = await startServer({ port: first.port, dir: first.home, args });
      await reconnecting(page).waitFor({ state: "detached" });
      await phase(page, "lobby");
    });
  } finally {
    await (second ?? first).stop();
  }
});

test("a session that expires while waiting leads to the log-in, and the place is still there", async () => {
  const server = await startServer({ args: ["--token-ttl-ms", "6000"] });
  try {
    const shop = await new Shop(server.url).open();
    const promo = await shop.promo({ opensIn: 3_600_000 });
    const shopper = await shop.shopper();
    await at.visit({ session: shopper.session, url: server.url, hash: `#/promo/${promo.id}`, allow: REFUSED }, async (page) => {
      await page.getByRole("button", { name: "Join the lobby" }).click();
      await phase(page, "lobby");
      await page.getByText("Your log-in has run out.").waitFor();
      await page.getByLabel("Email").fill(shopper.email);
      await page.getByLabel("Password").fill(shopper.password);
      await page.getByRole("button", { name: "Log in" }).click();
      await phase(page, "lobby");
    });
  } finally {
    await server.stop();
  }
});

test("a session that is no longer good leads to the log-in and back", async () => {
  const promo = await at.shop.promo({ opensIn: 3_600_000 });
  const shopper = await at.shop.shopper();
  const stale = { ...shopper.session, token: `${shopper.session.token.slice(0, -6)}AAAAAA` };
  await at.visit({ session: stale, hash: `#/promo/${promo.id}`, allow: REFUSED }, async (page) => {
    await page.getByText("Your log-in has run out.").waitFor();
    await page.getByLabel("Email").fill(shopper.email);
    await page.getByLabel("Password").fill(shopper.password);
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByRole("button", { name: "Join the lobby" }).click();
    await phase(page, "lobby");
    await page.getByRole("button", { name: "Log out" }).click();
    await page.getByRole("link", { name: "Log in" }).waitFor();
    assert.equal(await page.evaluate(() => localStorage.getItem("panicbuy.session")), null);
  });
});

test("logging out in one tab logs out in the other", async () => {
  const { session } = await at.shop.shopper();
  await at.visit({ session }, async (page) => {
    const tab = await page.context().newPage();
    await tab.goto(`${at.url}/#/orders`);
    await tab.getByRole("heading", { name: "My orders" }).waitFor();
    await page.getByRole("button", { name: "Log out" }).click();
    await tab.getByRole("heading", { name: "Log in" }).waitFor();
  });
});

test("one tab too many is told why, and stays away until asked", async () => {
  const server = await startServer({ args: ["--max-sockets-per-shopper", "1"] });
  try {
    const { session } = await new Shop(server.url).shopper();
    const elsewhere = await shopperSocket(server.url, session);
    await at.visit({ session, url: server.url }, async (page) => {
      await page.getByText("You have this shop open in too many tabs or devices.").waitFor();
      elsewhere.close();
      // The server may hear of the other tab's end a moment after this one asks.
      while (!(await connectAgain(page)));
      await page.locator("[data-connection]").waitFor({ state: "detached" });
    });
  } finally {
    await server.stop();
  }
});

/** Whether the next connection that the page opens is welcomed. Listens from the start, to miss no frame. */
function nextWelcome(page) {
  return new Promise((settle) => page.once("websocket", (socket) => {
    socket.on("framereceived", ({ payload }) => JSON.parse(payload).type === "welcome" && settle(true));
    socket.on("close", () => settle(false));
  }));
}

async function connectAgain(page) {
  const welcomed = nextWelcome(page);
  await page.getByRole("button", { name: "Connect again" }).click();
  return welcomed;
}

test("a wrong password is told without a hint which part was wrong", async () => {
  await at.visit({ hash: "#/login", allow: REFUSED }, async (page) => {
    await page.getByLabel("Email").fill("nobody@mail.example");
    await page.getByLabel("Password").fill("a long enough password");
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByText("Email and password do not match.").waitFor();
  });
});
