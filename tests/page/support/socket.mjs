// A shopper without a page, to fill lobbies and queues with.

import WebSocket from "ws";

const PATIENCE_MS = 15_000;

export async function shopperSocket(url, session) {
  const socket = new WebSocket(`${url.replace(/^http/, "ws")}/ws`, "panicbuy.v1");
  const frames = [];
  const waiters = new Set();
  socket.onmessage = ({ data }) => {
    frames.push(JSON.parse(data));
    for (const check of waiters) check();
  };

  function until(wanted) {
    return new Promise((settle, fail) => {
      const late = setTimeout(() => {
        waiters.delete(check);
        fail(new Error(`no such frame; heard ${JSON.stringify(frames.slice(-5))}`));
      }, PATIENCE_MS);
      const check = () => {
        const found = frames.find(wanted);
        if (!found) return;
        clearTimeout(late);
        waiters.delete(check);
        settle(found);
      };
      waiters.add(check);
      check();
    });
  }

  await new Promise((settle, fail) => {
    socket.onopen = settle;
    socket.onerror = () => fail(new Error("the socket did not open"));
  });
  const send = (frame) => socket.send(JSON.stringify(frame));
  send({ type: "hello", token: session.token });
  await until((frame) => frame.type === "welcome");
  return {
    frames,
    until,
    send,
    async join(promo_id) {
      send({ type: "join", promo_id });
      return until((frame) => frame.type === "state" && frame.promo_id === promo_id);
    },
    close: () => socket.close(),
  };
}
