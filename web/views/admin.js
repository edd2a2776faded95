// The shop desk: items, stock, sales and their waiting rooms. Compact, for people who do this daily.

import { h } from "../dom.js";
import { localInput, money, number, when } from "../format.js";
import { href } from "../routes.js";
import { livePromo } from "../select.js";
import { problemText, promoStatusText } from "../words.js";
import { heading } from "./heading.js";
import { button, choice, field, form, twice, waitingFor } from "./parts.js";

export function adminView(state, act) {
  if (state.session?.user.role !== "admin") return [heading("Shop desk"), h("p", null, "This part is for the people who run the shop.")];
  const ready = state.loads.items?.ready && state.loads.promos?.ready;
  const { items, promos } = state.loads;
  return [
    heading("Shop desk"),
    !ready && waitingFor({ items, promos }, act.retryLoad),
    ready && h("div", { class: "desk-new", key: "new" }, newPromo(state, act), newItem(state, act)),
    ready && promoTable(state, act),
    ready && itemTable(state, act),
  ];
}

// --- sales ---

function promoTable(state, act) {
  const promos = [...state.promos.ids].sort((a, b) => b - a).map((id) => livePromo(state, id));
  return h("section", { "aria-labelledby": "desk-promos", key: "promos" },
    h("h2", { id: "desk-promos" }, "Sales"),
    promos.length === 0 && h("p", { class: "muted" }, "None yet. Create one above."),
    h("ul", { class: "desk-list" }, promos.map((promo) => promoRow(state, act, promo))));
}

function promoRow(state, act, promo) {
  const form = state.forms[`promo:${promo.id}`];
  return h("li", { class: "desk-row", key: promo.id, "data-promo": promo.id },
    h("div", { class: "desk-line" },
      h("p", { class: `chip ${promo.status}` }, promoStatusText(promo.status)),
      h("h3", null, h("a", { href: href({ name: "promo", id: promo.id }) }, promo.title)),
      h("p", { class: "small-print" },
        h("span", null, money(promo.price_minor, promo.currency)),
        h("span", null, `${number(promo.available)} of ${number(promo.stock)} left`),
        h("span", null, `${when(promo.starts_at)} – ${when(promo.ends_at)}`)),
      h("div", { class: "row" }, moves(state, act, promo))),
    form?.problem && h("p", { class: "field-error", role: "alert" }, problemText(form.problem)),
    h("details", { key: "more" },
      h("summary", null, "Waiting room and audit"),
      admissionForm(state, act, promo),
      auditPart(state, act, promo)));
}

const MOVES = {
  draft: [["publish", "Publish"]],
  scheduled: [],
  ongoing: [["pause", "Pause"]],
  paused: [["resume", "Resume"]],
  ended: [],
};

function moves(state, act, promo) {
  const busy = state.forms[`promo:${promo.id}`]?.busy;
  const plain = MOVES[promo.status].map(([verb, label]) =>
    button(label, { kind: verb === "publish" ? "primary" : "plain", busy, key: verb, "aria-label": `${label} ${promo.title}`, onclick: () => act.movePromo(promo.id, verb) }));
  if (promo.status === "draft" || promo.status === "ended") return plain;
  return [...plain, twice({
    state, act, id: `end:${promo.id}`, label: "End", kind: "plain",
    question: `End “${promo.title}” for good? Unsold stock returns to the item.`,
    yes: "Yes, end it", no: "Let it run", onyes: () => act.movePromo(promo.id, "end"),
  })];
}

const ADMISSION = [
  ["rate_per_s", "Calls per second"],
  ["max_active", "Passes at once"],
  ["pass_ttl_ms", "Time to buy (ms)"],
];

function admissionForm(state, act, promo) {
  const name = `admission:${promo.id}`;
  const errors = state.forms[name]?.errors ?? {};
  return form({ name, label: `Waiting room of ${promo.title}`, state: state.forms[name], submit: "Change", kind: "plain", onsubmit: (fields) => act.setAdmission(promo.id, numbers(fields)) },
    h("div", { class: "fields", key: "fields" }, ADMISSION.map(([key, label]) =>
      field({ form: `admission-${promo.id}`, name: key, label, wide: false, inputmode: "numeric", value: promo.admission[key], error: errors[key] ?? errors[`admission.${key}`] }))));
}

function auditPart(state, act, promo) {
  const audit = state.audits[promo.id];
  return h("div", { class: "audit", key: "audit" },
    button("Audit", { onclick: () => act.audit(promo.id), busy: state.forms[`audit:${promo.id}`]?.busy }),
    audit && h("p", { class: `strip ${audit.ok ? "good" : "bad"}`, role: "status", "data-audit": audit.ok ? "ok" : "broken" },
      audit.ok ? "Every unit is accounted for. " : "The count does not add up. ",
      auditLines(audit).map(([key, value]) => h("span", { class: "pair", key }, `${key} ${value} `))));
}

/** The audit may grow fields, and may nest them by where they were counted; show what is there. */
function auditLines(audit, prefix = "") {
  return Object.entries(audit).flatMap(([key, value]) => {
    if (value !== null && typeof value === "object") return auditLines(value, `${prefix}${key} `);
    return typeof value === "number" ? [[`${prefix}${key}`, number(value)]] : [];
  });
}

// --- items ---

function itemTable(state, act) {
  return h("section", { "aria-labelledby": "desk-items", key: "items" },
    h("h2", { id: "desk-items" }, "Items"),
    state.items.ids.length === 0 && h("p", { class: "muted" }, "None yet. Create one above."),
    h("ul", { class: "desk-list" }, state.items.ids.map((id) => itemRow(state, act, state.items.byId[id]))),
    state.items.next !== null && button("Show more", { onclick: act.moreItems, busy: state.forms.more?.busy }));
}

function itemRow(state, act, item) {
  const name = `stock:${item.id}`;
  return h("li", { class: "desk-row", key: item.id, "data-item": item.id },
    h("div", { class: "desk-line" },
      h("h3", null, h("a", { href: href({ name: "item", id: item.id }) }, item.title)),
      h("p", { class: "small-print" },
        h("span", null, money(item.price_minor, item.currency)),
        h("span", null, `${number(item.available)} available`))),
    h("details", { key: "stock" },
      h("summary", null, "Change the stock"),
      form({ name, label: `Stock of ${item.title}`, state: state.forms[name], submit: "Add to stock", kind: "plain", onsubmit: (fields, done) => act.restock(item.id, Number(fields.delta), done) },
        field({ form: `stock-${item.id}`, name: "delta", label: "Units (negative to take away)", wide: false, inputmode: "numeric", error: state.forms[name]?.errors?.delta }))));
}

function newItem(state, act) {
  const errors = state.forms.item?.errors ?? {};
  const f = (name, label, more) => field({ form: "item", name, label, error: errors[name], ...more });
  return h("details", { class: "panel", key: "new-item" },
    h("summary", null, h("h2", null, "New item")),
    form({ name: "item", label: "New item", state: state.forms.item, submit: "Create item", onsubmit: (fields, done) => act.createItem({ ...fields, ...numbers({ price_minor: fields.price_minor, stock: fields.stock }) }, done) },
      f("title", "Title"),
      f("description", "Description", { type: "textarea" }),
      f("image_url", "Image", { hint: "An https address, or one of /img/sneaker.svg, headphones, console, watch, camera, kettle." }),
      h("div", { class: "fields", key: "numbers" },
        f("price_minor", "List price", { inputmode: "numeric", wide: false, hint: MINOR_HINT }),
        f("stock", "Stock", { inputmode: "numeric", wide: false, value: "100" }))));
}

const MINOR_HINT = "In the smallest unit: 1299 is 12.99";

function newPromo(state, act) {
  const errors = state.forms.promo?.errors ?? {};
  const f = (name, label, more) => field({ form: "promo", name, label, wide: false, error: errors[name] ?? errors[`admission.${name}`], ...more });
  const options = state.items.ids.map((id) => [String(id), state.items.byId[id].title]);
  return h("details", { class: "panel", key: "new-promo" },
    h("summary", null, h("h2", null, "New sale")),
    form({ name: "promo", label: "New sale", state: state.forms.promo, submit: "Create draft", onsubmit: (fields, done) => act.createPromo(promoBody(fields), done) },
      choice({ form: "promo", name: "item_id", label: "Item", options, error: errors.item_id }),
      f("title", "Title", { wide: true }),
      h("div", { class: "fields", key: "numbers" },
        f("price_minor", "Sale price", { inputmode: "numeric", hint: MINOR_HINT }),
        f("stock", "Units", { inputmode: "numeric", value: "50" }),
        f("per_user_limit", "Per person", { inputmode: "numeric", value: "1" }),
        f("starts_at", "Opens", { type: "datetime-local", step: "1", value: minutesFromOpening(state, 5) }),
        f("ends_at", "Ends", { type: "datetime-local", step: "1", value: minutesFromOpening(state, 65) }),
        f("payment_window_ms", "Time to pay (ms)", { inputmode: "numeric", value: "300000" }),
        f("rate_per_s", "Calls per second", { inputmode: "numeric", value: "10" }),
        f("max_active", "Passes at once", { inputmode: "numeric", value: "50" }),
        f("pass_ttl_ms", "Time to buy (ms)", { inputmode: "numeric", value: "60000" }))));
}

/** Suggested once per hour, not per second: a default that moves would fight with whoever edits it. */
function minutesFromOpening(state, minutes) {
  const hour = 3_600_000;
  const base = state.now - (state.now % hour) + hour;
  return localInput(base + minutes * 60_000);
}

function promoBody({ item_id, title, starts_at, ends_at, rate_per_s, max_active, pass_ttl_ms, ...rest }) {
  return {
    item_id: Number(item_id),
    title,
    starts_at: iso(starts_at),
    ends_at: iso(ends_at),
    ...numbers(rest),
    admission: numbers({ rate_per_s, max_active, pass_ttl_ms }),
  };
}

const iso = (local) => (local ? new Date(local).toISOString() : null);

/** What is not a number goes through as it was typed, so that the server's complaint names the field. */
function numbers(fields) {
  return Object.fromEntries(Object.entries(fields)
    .filter(([, value]) => value !== "")
    .map(([key, value]) => [key, Number.isFinite(Number(value)) ? Number(value) : value]));
}
