// One connection to `/ws`, kept alive. Knows the handshake, the heartbeat and when to come back;
// knows nothing of places, orders or views. Everything that happens is reported through `emit`.
//
// Socket, timers and chance are passed in, so that the tests hold the clock.

const PROTOCOL = "panicbuy.v1";
const OPEN_TIMEOUT_MS = 10_000;
const PONG_TIMEOUT_MS = 5_000;
const HEARTBEAT_SLACK_MS = 2_000;
const DEFAULT_HEARTBEAT_MS = 20_000;
const BACKOFF_BASE_MS = 500;
const BACKOFF_CAP_MS = 30_000;
const CONNECTING = 0;
const STABLE_AFTER_MS = 3_000;

/** Exponential with full jitter: after an outage ten thousand pages must not return in the same instant. */
export function backoff(attempt, random) {
  return random() * Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** attempt);
}

/** What a close code asks for: come back, log in first, or stay away. */
export function afterClose(code) {
  if (code === 4003) return "login";
  if (code >= 4500 && code <= 4999) return "stop";
  return "reconnect";
}

export function createSocket({ open = openWebSocket, token, emit, timers = globalTimers, random = Math.random }) {
  let socket = null;
  let live = false;
  let liveSince = 0;
  let attempt = 0;
  let byeDelay = null;
  let heartbeatMs = DEFAULT_HEARTBEAT_MS;
  let wanted = new Set();
  let watching = new Set();
  const timer = { retry: null, deadline: null, silence: null };

  function connect() {
    clearAll();
    drop();
    byeDelay = null;
    emit({ type: "connection", status: "connecting", attempt });
    const mine = open(PROTOCOL);
    socket = mine;
    timer.deadline = timers.set(() => lost(mine, 0), OPEN_TIMEOUT_MS);
    mine.onopen = () => mine === socket && transmit({ type: "hello", ...(token() ? { token: token() } : {}) });
    mine.onmessage = (message) => mine === socket && receive(message.data);
    mine.onclose = (close) => lost(mine, close.code, close.reason);
  }

  function receive(text) {
    const frame = parse(text);
    if (!frame) return;
    heard();
    if (frame.type === "bye") byeDelay = frame.reconnect_after_ms ?? null;
    if (frame.type === "pong") return;
    if (frame.type === "welcome") welcomed(frame);
    emit({ type: "frame", frame });
  }

  function welcomed(frame) {
    timers.clear(timer.deadline);
    live = true;
    liveSince = timers.now();
    heartbeatMs = frame.heartbeat_ms || DEFAULT_HEARTBEAT_MS;
    watching = new Set();
    emit({ type: "connection", status: "live", attempt: 0 });
    heard();
    watch(wanted);
  }

  function lost(which, code, reason = "") {
    if (which !== socket) return;
    // A server that welcomes and hangs up at once must not be hammered at the shortest delay.
    if (live && timers.now() - liveSince >= STABLE_AFTER_MS) attempt = 0;
    clearAll();
    drop();
    const next = afterClose(code);
    if (next !== "reconnect") {
      emit({ type: "connection", status: next === "login" ? "login" : "stopped", code, reason, attempt });
      return;
    }
    const delay = byeDelay ?? backoff(attempt, random);
    attempt += 1;
    emit({ type: "connection", status: "waiting", code, reason, attempt, retry_at: timers.now() + delay });
    timer.retry = timers.set(connect, delay);
  }

  /** Heartbeats are protocol pings, which a page cannot see. Silence is therefore asked about before it is believed. */
  function heard() {
    timers.clear(timer.silence);
    if (live) timer.silence = timers.set(probe, 2 * heartbeatMs + HEARTBEAT_SLACK_MS);
  }

  function probe() {
    const mine = socket;
    timers.clear(timer.silence);
    transmit({ type: "ping", nonce: String(timers.now()) });
    timer.silence = timers.set(() => lost(mine, 0, "silent"), PONG_TIMEOUT_MS);
  }

  function watch(promoIds) {
    const before = watching;
    wanted = new Set(promoIds);
    if (!live) return [];
    const gone = [...before].filter((id) => !wanted.has(id));
    for (const promo_id of gone) transmit({ type: "unwatch", promo_id });
    for (const promo_id of wanted) if (!before.has(promo_id)) transmit({ type: "watch", promo_id });
    watching = wanted;
    return gone;
  }

  function transmit(frame) {
    if (socket?.readyState !== 1) return false;
    socket.send(JSON.stringify(frame));
    return true;
  }

  function drop() {
    live = false;
    const old = socket;
    socket = null;
    if (!old) return;
    old.onopen = old.onmessage = old.onclose = null;
    // Closed before it opened, a socket is reported as failed; let it open first, then hang up.
    if (old.readyState === CONNECTING) old.onopen = () => old.close(1000);
    else old.close(1000);
  }

  function clearAll() {
    for (const name of Object.keys(timer)) {
      timers.clear(timer[name]);
      timer[name] = null;
    }
  }

  return {
    start: connect,
    /** Other credentials, or a person's wish: connect afresh, at once. */
    restart() {
      attempt = 0;
      connect();
    },
    /** The network says it is back, or the tab was woken: do not sit out a long wait, trust no old silence. */
    nudge() {
      if (live) probe();
      else if (timer.retry) connect();
    },
    /** Frames before `welcome` would be refused; what must not be lost is sent again after it. */
    send: (frame) => live && transmit(frame),
    watch,
  };
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function openWebSocket(protocol) {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  return new WebSocket(`${scheme}//${location.host}/ws`, protocol);
}

const globalTimers = {
  set: (fn, ms) => setTimeout(fn, ms),
  clear: (id) => clearTimeout(id),
  now: () => Date.now(),
};
