// The waiting room: one panel for each phase of a place. What it shows is what the server said last.

import { h } from "../dom.js";
import { clock, money, number, plural, roughly, spoken } from "../format.js";
import { href } from "../routes.js";
import { msUntil, odds, requestFor, standing, unitsLeftFor } from "../select.js";
import { isPassing, reasonText } from "../words.js";
import { button, countdown, link, meter, stockMeter, twice } from "./parts.js";
import { payPanel, paidPanel, pendingPanel } from "./settle.js";

export function room(state, act, promo) {
  const place = state.places[promo.id] ?? { promo_id: promo.id, phase: "none" };
  const panel = PANELS[place.phase] ?? outside;
  return h("div", { class: `panel phase-${place.phase}`, key: place.phase, "data-phase": place.phase },
    panel(state, act, promo, place));
}

const PANELS = {
  none: outside,
  lobby,
  queued,
  admitted,
  pending: pendingPanel,
  confirmed,
  rejected,
};

// An order that is not answered for so long is worth a word.
const SLOW_ANSWER_MS = 3000;

const title = (text) => h("h2", { tabindex: "-1", "data-focus": true, key: "title" }, text);

function stockLine(promo) {
  return h("div", { class: "stock-line", key: "stock" },
    stockMeter(promo.available, promo.stock),
    h("p", { class: "small-print" },
      h("span", null, h("strong", null, number(promo.available)), ` of ${plural(promo.stock, "unit")} left`)));
}

// --- not in yet, or not any more ---

function outside(state, act, promo, place) {
  const past = aftermath(state, promo, place);
  if (promo.status === "ended") return over(state, promo, past);
  const opened = promo.status !== "scheduled";
  const mayBuy = unitsLeftFor(state, promo) > 0;
  return [
    past ?? title(opened ? (promo.status === "paused" ? "The sale is paused" : "The sale is open") : "Opens in"),
    !opened && !past && countdown(msUntil(state, promo.starts_at), "big count"),
    !mayBuy && h("p", { key: "bought" }, `${reasonText("limit_reached")} `, link("See your orders", "#/orders")),
    crowd(state, promo),
    opened && stockLine(promo),
    mayBuy && joinButton(state, act, promo, place, Boolean(past)),
    h("p", { class: "muted", key: "note" }, opened
      ? "You join behind everybody who is already waiting. Your place is kept if you reload, switch devices or lose the connection."
      : "Everybody in the lobby at opening is drawn in random order. There is no need to be early or fast."),
  ];
}

function joinButton(state, act, promo, place, again) {
  if (!state.session) return link("Log in to join", "#/login", "button primary big-button");
  const label = place.lost ? "Getting your place back…" : place.joining ? "Joining…" : again ? "Join again" : promo.status === "scheduled" ? "Join the lobby" : "Join the queue";
  return button(label, { kind: "primary big-button", key: "join", busy: place.joining, onclick: () => act.join(promo.id) });
}

function crowd(state, promo) {
  const queue = state.queues[promo.id];
  if (!queue) return null;
  const scheduled = promo.status === "scheduled";
  const n = scheduled ? queue.lobby : queue.waiting;
  const where = scheduled ? "in the lobby" : "in the queue";
  return h("p", { class: "crowd", key: "crowd" }, n === 0 ? (scheduled ? "Nobody is in the lobby yet." : "Nobody is waiting right now.") : `${plural(n, "person", "people")} ${where}.`);
}

/** What happened to the last turn; `null` when there was none. */
function aftermath(state, promo, place) {
  const story = STORIES[place.status] ?? STORIES[place.reason];
  if (!story || place.joining) return null;
  return [title(story.title), h("p", { key: "story" }, story.text)];
}

const STORIES = {
  expired: { title: "Your order has lapsed", text: "It was not paid in time, so the unit went back to the sale. Nothing was charged." },
  cancelled: { title: "Your order is cancelled", text: "The unit went back to the sale. Nothing was charged." },
  pass_expired: { title: "Your turn has passed", text: "The time to buy ran out unused. Nothing was charged, and you may join again at the end of the queue." },
};

function over(state, promo, past) {
  const item = state.items.byId[promo.item_id];
  return [
    past ?? title("This sale has ended"),
    h("p", { key: "over" }, past ? "The sale has ended." : "Thank you for waiting with us."),
    item?.available > 0 && h("p", { key: "list" }, link(`Buy at list price, ${money(item.price_minor, item.currency)}`, href({ name: "item", id: item.id }), "button primary")),
    h("div", { class: "row", key: "links" },
      promo.seed && link("Check the draw", href({ name: "draw", id: promo.id }), "button plain"),
      link("Other sales", "#/", "button plain")),
  ];
}

// --- waiting ---

function lobby(state, act, promo) {
  const others = Math.max(0, (state.queues[promo.id]?.lobby ?? 1) - 1);
  const left = msUntil(state, promo.starts_at);
  return [
    title("You're in the lobby"),
    h("p", { class: "label", key: "label" }, left > 0 ? "Opens in" : "Drawing the order…"),
    countdown(left, "big count"),
    h("p", { class: "crowd", key: "crowd" }, others === 0 ? "Nobody else waits yet." : `${plural(others, "other person waits", "other people wait")} with you for ${plural(promo.stock, "unit")}.`),
    h("p", { class: "muted", key: "note" }, "At opening everybody here is drawn in random order. You may close this page until then; your place in the draw stays for a while without you, and is back as soon as you are."),
    leaveButton(state, act, promo, "Leave the lobby"),
  ];
}

function queued(state, act, promo) {
  const where = standing(state, promo.id);
  if (!where) return [title("You're in the queue"), leaveButton(state, act, promo, "Leave the queue")];
  return [
    title(where.ahead === 0 ? "You're next" : "You're in the queue"),
    h("p", { class: "figure", key: "figure" },
      h("span", { class: "big" }, number(where.ahead)),
      h("span", { class: "label" }, where.ahead === 1 ? "person ahead of you" : "people ahead of you")),
    meter({ value: where.progress, label: "Way to your turn", text: `${Math.round(where.progress * 100)} percent`, kind: "way" }),
    h("dl", { class: "facts inline", key: "facts" },
      h("div", null, h("dt", null, "Your number"), h("dd", null, number(where.number))),
      h("div", null, h("dt", null, "Called"), h("dd", null, number(where.head))),
      h("div", null, h("dt", null, "Expected wait"), h("dd", null, waitWords(promo, where)))),
    stockLine(promo),
    h("p", { class: "odds", key: "odds" }, oddsWords(promo, where, state.queues[promo.id]?.active ?? 0)),
    h("p", { class: "muted", key: "note" }, "Your place is yours: reload, switch devices or lose the connection, and it is still here. Stay close: whoever is away too long when called is passed over."),
    leaveButton(state, act, promo, "Leave the queue"),
  ];
}

function waitWords(promo, where) {
  if (promo.status === "paused") return "paused";
  return where.ahead === 0 ? "any moment" : roughly(where.eta_s);
}

function oddsWords(promo, { ahead }, active) {
  if (promo.status === "paused") return "The sale is paused. Your place is kept, and nobody is called until it goes on.";
  const left = promo.available;
  switch (odds({ ahead, active, available: left, limit: promo.per_user_limit })) {
    case "sure": return "There are enough units left for everybody before you and for you.";
    case "likely": return "There is a unit for you if everybody before you takes just one.";
    case "none": return "Every unit is taken at the moment. Units come back when orders are cancelled or stay unpaid, and go to the next in line.";
    default: return `${plural(left, "unit")} left for ${rivals(ahead, active)}. You get one only if some of them do not buy.`;
  }
}

function rivals(ahead, active) {
  const parts = [ahead > 0 && `${plural(ahead, "person", "people")} ahead of you`, active > 0 && `${number(active)} buying right now`];
  return parts.filter(Boolean).join(" and ");
}

function leaveButton(state, act, promo, label) {
  return twice({
    state, act, label, id: `leave:${promo.id}`, key: "leave",
    question: "Give up your place? It cannot be taken back.",
    yes: "Yes, give it up", no: "Stay", onyes: () => act.leave(promo.id),
  });
}

// --- one's turn ---

function admitted(state, act, promo, place) {
  if (promo.status === "paused") return pausedTurn(state, act, promo);
  const left = msUntil(state, place.pass_expires_at);
  const request = requestFor(state, { promo_id: promo.id });
  const sending = request?.status === "sending";
  const ttl = promo.admission?.pass_ttl_ms;
  return [
    title("It's your turn"),
    h("p", { class: "label", key: "label" }, left > 0 ? "Time left to buy" : "Your time is up"),
    countdown(left, "big count"),
    ttl > 0 && meter({ value: left / ttl, label: "Time left to buy", text: spoken(left), kind: "time" }),
    answer(state, request),
    h("form", { class: "buy", key: "buy", onsubmit: (event) => {
      event.preventDefault();
      if (sending || left === 0) return;
      const quantity = Number(new FormData(event.currentTarget).get("quantity") ?? 1);
      act.order({ promo_id: promo.id }, quantity);
    } },
      quantityChoice("buy", Math.min(unitsLeftFor(state, promo), MOST)),
      h("button", { type: "submit", class: "button primary big-button", "data-buy": true, "aria-disabled": sending || left === 0 ? "true" : undefined },
        sending ? "Sending your order…" : buyLabel(promo))),
    h("p", { class: "muted", key: "note" }, promo.per_user_limit === 1
      ? "A unit is set aside for you for this long. You pay in the next step."
      : `Up to ${promo.per_user_limit} per person. You pay in the next step.`),
    giveUpTurn(state, act, promo),
  ];
}

function buyLabel(promo) {
  const price = money(promo.price_minor, promo.currency);
  return promo.per_user_limit === 1 ? `Buy now for ${price}` : `Buy now, ${price} each`;
}

/** The server stops a pass's clock with the sale, and sets a new end when it goes on. */
function pausedTurn(state, act, promo) {
  return [
    title("It's your turn, and the sale is paused"),
    h("p", { key: "why" }, "Your time to buy stands still. As soon as the sale goes on, so does it, and you can buy."),
    stockLine(promo),
    giveUpTurn(state, act, promo),
  ];
}

function giveUpTurn(state, act, promo) {
  return twice({
    state, act, id: `leave:${promo.id}`, label: "Not interested any more",
    question: "Give up your turn? The next person is called instead.",
    yes: "Yes, give it up", no: "Keep it", onyes: () => act.leave(promo.id),
  });
}

const MOST = 20;

export function quantityChoice(name, most) {
  if (most <= 1) return null;
  const id = `${name}-quantity`;
  return h("div", { class: "field narrow", key: "quantity" },
    h("label", { for: id }, "Quantity"),
    h("select", { id, name: "quantity" }, Array.from({ length: most }, (_, i) => h("option", { value: String(i + 1) }, String(i + 1)))));
}

/** What a person is told of the order they have sent, as long as it is not accepted. */
export function answer(state, request) {
  return request?.status === "sending" ? holdOn(state, request) : refusal(state, request);
}

/** A part of the shop that is away for a while must not look like a button that does nothing. */
function holdOn(state, request) {
  if (state.now - (request.sent_at ?? state.now) < SLOW_ANSWER_MS) return null;
  return h("p", { class: "strip warn", key: "hold-on", role: "status", "data-hold-on": true },
    "Hold on: the shop is slow to answer. Your order goes through once, as soon as it can.");
}

function refusal(state, request) {
  if (request?.status !== "refused") return null;
  const wait = request.retry_at ? request.retry_at - state.now : 0;
  return h("p", { class: "strip warn", key: "refused", "data-refused": request.reason },
    request.reason === "sold_out" && request.quantity > 1
      ? "There are fewer units left than you asked for. Nothing was taken."
      : reasonText(request.reason),
    isPassing(request.reason) && wait > 0 && ` Try again in ${clock(wait)}.`);
}

// --- after the order ---

function confirmed(state, act, promo, place) {
  const order = state.orders.byId[place.order_id] ?? { order_id: place.order_id, status: place.status };
  if ((place.status ?? order.status) === "paid") return [paidPanel(state, order), oneMore(state, act, promo, place)];
  return payPanel(state, act, { currency: promo.currency, payment_window_ms: promo.payment_window_ms, ...order });
}

/** A sale may allow several units per person, each with a turn of its own. */
function oneMore(state, act, promo, place) {
  const more = unitsLeftFor(state, promo);
  if (promo.status !== "ongoing" || more === 0 || state.loads.orders?.stale) return null;
  return [
    h("p", { class: "muted", key: "more" }, `You may buy ${plural(more, "more unit")} in this sale.`),
    joinButton(state, act, promo, place, true),
  ];
}

function rejected(state, act, promo, place) {
  const again = promo.status === "ongoing" || promo.status === "paused";
  return [
    title("Your order was not possible"),
    h("p", { key: "why" }, reasonText(place.reason), " Nothing was charged."),
    again && stockLine(promo),
    again && place.reason !== "limit_reached" && joinButton(state, act, promo, place, true),
    h("div", { class: "row", key: "links" }, link("My orders", "#/orders", "button plain"), link("Other sales", "#/", "button plain")),
  ];
}
