// A wire between page and server that a test can cut, and mend, and listen to.

import { connect, createServer } from "node:net";
import { once } from "node:events";

export async function startProxy(port) {
  const pairs = new Set();
  let whole = true;
  let cutAt = null;

  const server = createServer((near) => {
    if (!whole) return void near.destroy();
    const far = connect(port, "127.0.0.1");
    const pair = { near, far, silent: false };
    pairs.add(pair);
    const drop = () => {
      near.destroy();
      far.destroy();
      pairs.delete(pair);
    };
    near.on("data", (chunk) => pair.silent || far.write(chunk));
    far.on("data", (chunk) => {
      if (pair.silent) return;
      // The answer arrives here and goes no further: to the page it is as if it had never been sent.
      if (cutAt?.(chunk.toString("latin1"))) {
        cutAt = null;
        cut();
        return;
      }
      near.write(chunk);
    });
    for (const socket of [near, far]) socket.on("error", drop).on("close", drop);
  });

  function cut() {
    whole = false;
    for (const { near, far } of [...pairs]) {
      near.destroy();
      far.destroy();
    }
  }

  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    cut,
    mend: () => { whole = true; },
    /** Connections of now stay open and carry nothing more, as when a phone leaves the network without a word. */
    silence() {
      for (const pair of pairs) pair.silent = true;
    },
    /** Cuts the wire instead of delivering the first chunk from the server that `wanted` is true for. */
    cutBefore(wanted) {
      return new Promise((settle) => {
        cutAt = (text) => {
          const hit = wanted(text);
          if (hit) settle();
          return hit;
        };
      });
    },
    close() {
      cut();
      server.close();
    },
  };
}
