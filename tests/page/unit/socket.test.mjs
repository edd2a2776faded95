// The connection, with a clock and a wire of the test's own.

import assert from "node:assert/strict";
import { test } from "node:test";
import { afterClose, backoff, createSocket } from "../../../web/socket.js";

function world({ token = null, random = 0.5 } = {}) {
  let now = 0;
  let nextId = 1;
  const due = new Map();
  const wires = [];
  const events = [];
  const timers = {
    now: () => now,
    set: (fn, ms) => (due.set(nextId, { at: now + ms, fn }), nextId++),
    clear: (id) => due.delete(id),
  };
  const open = () => {
    const wire = { readyState: 0, sent: [], closed: null, send: (text) => wire.sent.push(JSON.parse(text)), close: (code) => { wire.closed = code; } };
    wires.push(wire);
    return wire;
  };
  const socket = createSocket({ open, token: () => token, emit: (event) => events.push(event), timers, random: () => random });
  const wire = () => wires.at(-1);
  return {
    socket, wires, events, wire,
    say: (frame) => wire().onmessage({ data: JSON.stringify(frame) }),
    opened() {
      wire().readyState = 1;
      wire().onopen();
    },
    live(more = {}) {
      this.opened();
      this.say({ type: "welcome", heartbeat_ms: 10_000, user_id: 1, states: [], ...more });
    },
    pass(ms) {
      const until = now + ms;
      for (;;) {
        const [id, next] = [...due].filter(([, d]) => d.at <= until).sort((a, b) => a[1].at - b[1].at)[0] ?? [];
        if (!next) break;
        due.delete(id);
        now = next.at;
        next.fn();
      }
      now = until;
    },
    status: () => events.filter((e) => e.type === "connection").at(-1),
  };
}

test("hello first, with the token; the watches after welcome", () => {
  const w = world({ token: "secret" });
  w.socket.watch(new Set([3]));
  w.socket.start();
  assert.equal(w.socket.send({ type: "join", promo_id: 3 }), false, "nothing before welcome");
  w.live();
  assert.deepEqual(w.wire().sent, [{ type: "hello", token: "secret" }, { type: "watch", promo_id: 3 }]);
  assert.deepEqual(w.socket.watch(new Set([4])), [3]);
  assert.deepEqual(w.wire().sent.slice(2), [{ type: "unwatch", promo_id: 3 }, { type: "watch", promo_id: 4 }]);
});

test("a visitor's hello has no token", () => {
  const w = world();
  w.socket.start();
  w.opened();
  assert.deepEqual(w.wire().sent, [{ type: "hello" }]);
});

test("a lost connection comes back with growing, jittered delays", () => {
  const w = world();
  w.socket.start();
  w.live();
  w.pass(5_000);
  w.wire().onclose({ code: 1006 });
  assert.deepEqual([w.status().status, w.status().retry_at], ["waiting", 5_250]);
  w.pass(250);
  assert.equal(w.wires.length, 2);
  w.wire().onclose({ code: 1006 });
  assert.equal(w.status().retry_at - 5_250, 500);
  w.pass(500);
  w.live();
  assert.equal(w.status().status, "live");
});

test("full jitter: between nothing and a cap", () => {
  assert.equal(backoff(3, () => 0), 0);
  assert.equal(backoff(3, () => 1), 4_000);
  assert.equal(backoff(40, () => 1), 30_000);
});

test("a server that welcomes and hangs up at once is not hammered", () => {
  const w = world({ random: 1 });
  w.socket.start();
  const delays = [];
  for (let i = 0; i < 4; i += 1) {
    w.live();
    w.wire().onclose({ code: 4000 });
    delays.push(w.status().retry_at);
    w.pass(w.status().retry_at - (delays.at(-2) ?? 0));
  }
  assert.deepEqual(delays.map((d, i) => d - (delays[i - 1] ?? 0)), [500, 1_000, 2_000, 4_000]);
});

test("bye says when to come back, once", () => {
  const w = world();
  w.socket.start();
  w.live();
  w.say({ type: "bye", reason: "shutdown", reconnect_after_ms: 7_000 });
  w.wire().onclose({ code: 1001 });
  assert.equal(w.status().retry_at, 7_000);
  w.pass(7_000);
  w.wire().onclose({ code: 1006 });
  assert.equal(w.status().retry_at, 7_000 + 500);
});

test("close codes are obeyed", () => {
  assert.deepEqual([1000, 1001, 1006, 4000, 4001, 4002, 4003, 4004, 4499, 4500, 4501, 4502, 4999].map(afterClose),
    ["reconnect", "reconnect", "reconnect", "reconnect", "reconnect", "reconnect", "login", "reconnect", "reconnect", "stop", "stop", "stop", "stop"]);
  const w = world();
  w.socket.start();
  w.live();
  w.wire().onclose({ code: 4502, reason: "too many" });
  assert.deepEqual([w.status().status, w.status().code], ["stopped", 4502]);
  w.pass(600_000);
  assert.equal(w.wires.length, 1, "stays away");
  w.socket.restart();
  assert.equal(w.wires.length, 2, "unless a person asks");
});

test("an expired session waits for a log-in", () => {
  const w = world();
  w.socket.start();
  w.live();
  w.wire().onclose({ code: 4003 });
  w.pass(600_000);
  assert.deepEqual([w.status().status, w.wires.length], ["login", 1]);
});

test("silence is asked about before it is believed", () => {
  const w = world();
  w.socket.start();
  w.live();
  w.pass(22_000);
  assert.equal(w.wire().sent.at(-1).type, "ping");
  w.say({ type: "pong", nonce: "x" });
  w.pass(21_000);
  assert.equal(w.wires.length, 1, "a pong is life");
  w.pass(1_000 + 5_000);
  assert.equal(w.status().status, "waiting", "no pong is not");
});

test("frames from a connection that was given up are not heard", () => {
  const w = world();
  w.socket.start();
  w.live();
  const old = w.wire();
  const heard = old.onmessage;
  w.socket.restart();
  const before = w.events.length;
  heard({ data: JSON.stringify({ type: "state", promo_id: 1, phase: "admitted" }) });
  assert.equal(w.events.length, before);
  assert.equal(old.closed, 1000);
});

test("a handshake that never finishes is given up", () => {
  const w = world();
  w.socket.start();
  w.opened();
  w.pass(10_000);
  assert.equal(w.status().status, "waiting");
});

test("a woken tab does not sit out its wait", () => {
  const w = world({ random: 1 });
  w.socket.start();
  w.wire().onclose({ code: 1006 });
  w.socket.nudge();
  assert.equal(w.wires.length, 2);
  w.live();
  w.socket.nudge();
  assert.equal(w.wire().sent.at(-1).type, "ping");
});
