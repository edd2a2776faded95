// What a person can do. Each action is one call or one frame, and the events that tell of it.

import { checkDraw } from "./draw.js";
import { orderFrame } from "./frames.js";
import { href } from "./routes.js";

export function createActions({ store, api, socket, go, newId = () => crypto.randomUUID() }) {
  const { dispatch } = store;

  /** Runs one REST call for a form; what went wrong belongs to that form. */
  async function submit(form, call) {
    if (store.get().forms[form]?.busy) return null;
    dispatch({ type: "form/busy", form });
    try {
      const answer = await call();
      dispatch({ type: "form/done", form });
      return answer ?? true;
    } catch (error) {
      fail(error, form);
      return null;
    }
  }

  function fail(error, form) {
    const problem = error.problem ?? { code: "unexpected", detail: "Something went wrong on this page. Please reload it." };
    if (!error.problem) console.error(error);
    dispatch({ type: "form/failed", form, problem });
    // A wrong password is a 401 too, and no reason to end a session that does not exist.
    if (problem.status === 401 && store.get().session) endSession("expired");
  }

  function endSession(why) {
    const { route } = store.get();
    dispatch({ type: "session/ended", why });
    if (why !== "logout") go("#/login", { from: href(route) });
  }

  async function logIn(fields) {
    const session = await submit("login", () => api.logIn(fields));
    if (!session) return;
    const { returnTo } = store.get();
    dispatch({ type: "session/started", session });
    go(returnTo ?? "#/");
  }

  return {
    go,
    endSession,
    logIn,

    async register(fields) {
      const user = await submit("register", () => api.register(fields));
      if (user) await logIn({ email: fields.email, password: fields.password });
    },

    logOut() {
      endSession("logout");
      go("#/");
    },

    async rename(fields) {
      const user = await submit("profile", () => api.changeMe(fields));
      if (!user) return;
      dispatch({ type: "profile/changed", user });
      dispatch({ type: "form/done", form: "profile", said: "Saved." });
    },

    ask: (what) => dispatch({ type: "confirm/asked", what }),
    unask: () => dispatch({ type: "confirm/closed" }),
    closeNotice: () => dispatch({ type: "notice/closed" }),
    reconnect: () => socket.restart(),
    retryLoad: (keys) => dispatch({ type: "load/stale", keys }),

    join(promo_id) {
      dispatch({ type: "join/asked", promo_id });
      socket.send({ type: "join", promo_id });
    },

    leave(promo_id) {
      dispatch({ type: "confirm/closed" });
      socket.send({ type: "leave", promo_id });
    },

    /** The intent is in the state before the frame is on the wire: a cut in between repeats it with the same id. */
    order(target, quantity) {
      const request = { request_id: newId(), ...target, quantity, user_id: store.get().session.user.id };
      dispatch({ type: "order/sent", request });
      socket.send(orderFrame(request));
    },

    dismiss: (request_id) => dispatch({ type: "request/dismissed", request_id }),

    async pay(order_id) {
      const order = await submit(`order:${order_id}`, () => api.pay(order_id));
      if (order) dispatch({ type: "order/loaded", order });
      else dispatch({ type: "load/stale", keys: ["orders", `order:${order_id}`] });
    },

    async cancel(order_id) {
      dispatch({ type: "confirm/closed" });
      const order = await submit(`order:${order_id}`, () => api.cancel(order_id));
      if (order) dispatch({ type: "order/loaded", order });
      else dispatch({ type: "load/stale", keys: ["orders", `order:${order_id}`] });
    },

    async moreItems() {
      const page = await submit("more", () => api.items(store.get().items.next));
      if (page) dispatch({ type: "items/more", page });
    },

    async moreOrders() {
      const page = await submit("more", () => api.orders(store.get().orders.next));
      if (page) dispatch({ type: "orders/more", page });
    },

    async checkDraw(promo_id) {
      const tell = (draw) => dispatch({ type: "draw/step", promo_id, draw });
      tell({ status: "running" });
      try {
        const promo = await api.promo(promo_id);
        dispatch({ type: "load/done", key: `promo:${promo_id}`, data: promo });
        if (!promo.seed) return tell({ status: "early" });
        const userId = store.get().session?.user.id;
        const { number } = store.get().places[promo_id] ?? {};
        const readPage = (after) => api.draw(promo_id, after);
        for await (const step of checkDraw({ promo, userId, number, readPage })) {
          tell({ status: step.done ? "done" : "running", ...step });
        }
      } catch (error) {
        if (!error.problem) console.error(error);
        tell({ status: "failed", problem: error.problem ?? { detail: "The check could not be finished." } });
      }
    },

    async createItem(fields, done) {
      if (!(await submit("item", () => api.createItem(fields)))) return;
      done();
      dispatch({ type: "load/stale", keys: ["items"] });
      dispatch({ type: "form/done", form: "item", said: "Item created." });
    },

    async restock(id, delta, done) {
      const form = `stock:${id}`;
      if (!(await submit(form, () => api.restock(id, delta)))) return;
      done();
      dispatch({ type: "load/stale", keys: ["items", `item:${id}`] });
      dispatch({ type: "form/done", form, said: "Stock changed." });
    },

    async createPromo(fields, done) {
      if (!(await submit("promo", () => api.createPromo(fields)))) return;
      done();
      dispatch({ type: "load/stale", keys: ["items", "promos"] });
      dispatch({ type: "form/done", form: "promo", said: "Draft created. It is in the list, ready to publish." });
    },

    async movePromo(id, verb) {
      dispatch({ type: "confirm/closed" });
      const promo = await submit(`promo:${id}`, () => api.movePromo(id, verb));
      if (promo) dispatch({ type: "promo/changed", promo });
    },

    async setAdmission(id, fields) {
      const form = `admission:${id}`;
      const answer = await submit(form, () => api.setAdmission(id, fields));
      if (!answer) return;
      if (answer.id) dispatch({ type: "promo/changed", promo: answer });
      else dispatch({ type: "load/stale", keys: ["promos"] });
      dispatch({ type: "form/done", form, said: "Waiting room changed." });
    },

    async audit(id) {
      const audit = await submit(`audit:${id}`, () => api.audit(id));
      if (audit) dispatch({ type: "audit/loaded", promo_id: id, audit });
    },
  };
}
