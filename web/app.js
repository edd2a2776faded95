// Wires the page together: store, socket, REST, address and screen. Every effect starts here.

import { createActions } from "./actions.js";
import { createApi } from "./api.js";
import { patch } from "./dom.js";
import { framesAfterWelcome, joinsToRepeat } from "./frames.js";
import * as keep from "./keep.js";
import { isDoor, needsSession, parseRoute } from "./routes.js";
import { announce, silentMemory, titleOf } from "./says.js";
import { wantedLoads, wantedWatches } from "./select.js";
import { backoff, createSocket } from "./socket.js";
import { initialState, reduce } from "./state.js";
import { createStore } from "./store.js";
import { banner } from "./views/banner.js";
import { mainView } from "./views/main.js";
import { topBar } from "./views/top.js";

const now = () => Date.now();
const el = (id) => document.getElementById(id);

const store = createStore(reduce, initialState({
  session: keep.readSession(),
  requests: keep.readRequests(),
  now: now(),
}), now);
const token = () => store.get().session?.token;
const api = createApi({ token });
const socket = createSocket({ token, emit: onSocket });
const act = createActions({ store, api, socket, go });

// --- the address ---

let cameFrom; // where the person stood when the page itself sent them to log in

function go(hash, { from } = {}) {
  cameFrom = from;
  if (location.hash === hash) onAddress();
  else location.hash = hash;
}

function onAddress() {
  const route = parseRoute(location.hash);
  const { session } = store.get();
  if (needsSession(route) && !session) {
    cameFrom = location.hash;
    location.replace("#/login");
    return;
  }
  if (isDoor(route) && session) {
    location.replace("#/");
    return;
  }
  store.dispatch({ type: "route", route, from: cameFrom });
  cameFrom = undefined;
}

// --- the socket ---

function onSocket(event) {
  const before = store.get();
  if (event.type === "connection") {
    store.dispatch(event);
    if (event.status === "login" || event.code === 4500) refused(before);
    return;
  }
  store.dispatch(event);
  if (event.frame.type === "error") repeatJoins();
  if (event.frame.type !== "welcome") return;
  for (const frame of framesAfterWelcome(before, event.frame)) socket.send(frame);
}

/** A full or recovering waiting room is asked again, ever more patiently, for as long as the person stays. */
function repeatJoins() {
  for (const { promo_id, tries } of joinsToRepeat(store.get())) {
    setTimeout(() => {
      if (store.get().places[promo_id]?.joining) socket.send({ type: "join", promo_id });
    }, 500 + backoff(tries, Math.random));
  }
}

/** The token is no longer good. The place is the shopper's, not the socket's: log in and it is there again. */
function refused({ session }) {
  if (session) act.endSession("expired");
}

// --- what follows from a change ---

store.subscribe((state, before) => {
  if (state.session?.token !== before.session?.token) {
    keep.keepSession(state.session);
    socket.restart();
  } else if (state.session !== before.session) {
    keep.keepSession(state.session);
  }
  if (state.requests !== before.requests) keep.keepRequests(state.requests);
  const gone = socket.watch(wantedWatches(state));
  if (gone.length > 0) store.dispatch({ type: "unwatched", promo_ids: gone });
  for (const key of wantedLoads(store.get())) load(key);
  scheduleRender();
});

const LOADERS = {
  items: () => api.items(),
  promos: () => api.promos(),
  orders: () => api.orders(),
  item: (id) => api.item(id),
  promo: (id) => api.promo(id),
  order: (id) => api.order(id),
};

async function load(key) {
  const [kind, id] = key.split(":");
  const reader = token();
  store.dispatch({ type: "load/started", key });
  try {
    const data = await LOADERS[kind](id);
    // What was read for somebody else is not shown to whoever logged in meanwhile.
    if (reader === token()) store.dispatch({ type: "load/done", key, data });
  } catch (error) {
    if (!error.problem) console.error(error);
    if (reader !== token()) return;
    const problem = error.problem ?? { detail: "The answer could not be read." };
    store.dispatch({ type: "load/failed", key, problem });
    if (problem.status === 401 && store.get().session) act.endSession("expired");
  }
}

// --- the screen ---

let scheduled = false;
let shown = store.get();
let memory = silentMemory;
let first = true;

function scheduleRender() {
  if (scheduled) return;
  scheduled = true;
  // Frames of animation stop in a background tab, where the title still has to count down.
  if (document.hidden) setTimeout(render, 0);
  else requestAnimationFrame(render);
}

function render() {
  scheduled = false;
  const state = store.get();
  const before = shown;
  shown = state;
  const focused = document.activeElement;
  patch(el("top"), topBar(state, act));
  patch(el("banner"), banner(state, act));
  patch(el("main"), mainView(state, act));
  document.title = titleOf(state);
  speak(before, state);
  placeFocus(before, state, focused);
}

function speak(before, state) {
  const said = announce(before, state, memory);
  memory = said.memory;
  if (said.polite) el("polite").textContent = said.polite;
  if (said.assertive) el("assertive").textContent = said.assertive;
}

/** A new view starts at its heading; a button that vanished under the focus hands it to what replaced it. */
function placeFocus(before, state, focused) {
  const main = el("main");
  const invalid = before.forms !== state.forms && main.querySelector("[aria-invalid=true], [data-form-error]");
  if (first) {
    first = false; // the browser has put the focus where a fresh page has it
  } else if (before.route !== state.route) {
    scrollTo(0, 0);
    (main.querySelector("h1") ?? main).focus({ preventScroll: true });
  } else if (invalid && newlyFailed(before, state)) {
    invalid.focus();
  } else if (focused && focused !== document.body && !focused.isConnected) {
    (main.querySelector("[data-focus]") ?? main.querySelector("h1") ?? main).focus({ preventScroll: true });
  }
}

function newlyFailed(before, state) {
  return Object.keys(state.forms).some((form) => state.forms[form].problem && !before.forms[form]?.problem);
}

// --- start ---

addEventListener("hashchange", onAddress);
addEventListener("online", () => socket.nudge());
document.addEventListener("visibilitychange", () => !document.hidden && socket.nudge());
keep.onSessionElsewhere((session) => {
  if (session?.token === token()) return;
  store.dispatch(session ? { type: "session/started", session } : { type: "session/ended", why: "logout" });
  onAddress();
});
el("skip").onclick = (event) => {
  // The fragment belongs to the router; the link's work is done by hand.
  event.preventDefault();
  el("main").focus();
};

onAddress();
socket.start();
tick();

/** Just after each full second of the shop's clock, so that every countdown on screen turns together. */
function tick() {
  store.dispatch({ type: "tick" });
  setTimeout(tick, 1000 - (store.get().now % 1000) + 5);
}
