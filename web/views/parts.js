// Small pieces that several views share. They take values, never the state.

import { h } from "../dom.js";
import { clock, money, percentOff, spoken } from "../format.js";
import { problemText, sentence } from "../words.js";

/** While busy a button stays focusable: `disabled` would throw the keyboard back to the top of the page. */
export function button(label, { onclick, kind = "plain", busy = false, off = false, ...rest } = {}) {
  const still = busy || off;
  return h("button", {
    type: "button",
    class: `button ${kind}`,
    ...rest,
    "aria-disabled": still ? "true" : undefined,
    "aria-busy": busy ? "true" : undefined,
    onclick: still ? null : onclick,
  }, label);
}

export function link(label, to, kind) {
  return h("a", { href: to, class: kind }, label);
}

/** `onsubmit` gets the fields as a plain object, and the form itself to clear when it has done its work. */
export function form({ name, state, submit, label, onsubmit, kind = "primary" }, ...fields) {
  const { busy = false, problem, said } = state ?? {};
  const fieldless = problem && Object.keys(problem.errors ?? {}).length === 0;
  return h("form", {
    class: "form",
    novalidate: true,
    "aria-label": label,
    key: name,
    onsubmit: (event) => {
      event.preventDefault();
      const { currentTarget } = event;
      if (!busy) onsubmit(Object.fromEntries(new FormData(currentTarget)), () => currentTarget.reset());
    },
  },
    fieldless && h("p", { class: "form-error", "data-form-error": true, tabindex: "-1", role: "alert", key: "error" }, problemText(problem)),
    ...fields,
    h("div", { class: "form-foot", key: "foot" },
      h("button", { type: "submit", class: `button ${kind}`, "aria-disabled": busy ? "true" : undefined }, busy ? "One moment…" : submit),
      said && h("p", { class: "form-said", role: "status" }, said)));
}

export function field({ form: formName, name, label, hint, error, wide = true, ...input }) {
  const id = `${formName}-${name}`;
  const told = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(" ");
  const control = {
    id,
    name,
    "aria-invalid": error ? "true" : undefined,
    "aria-describedby": told || undefined,
    ...input,
  };
  return h("div", { class: `field ${wide ? "" : "narrow"}`, key: name },
    h("label", { for: id }, label),
    input.type === "textarea" ? h("textarea", { ...control, type: undefined, rows: "3" }) : h("input", { type: "text", ...control }),
    hint && h("p", { class: "hint", id: `${id}-hint` }, hint),
    error && h("p", { class: "field-error", id: `${id}-error` }, sentence(error)));
}

export function choice({ form: formName, name, label, options, error }) {
  const id = `${formName}-${name}`;
  return h("div", { class: "field", key: name },
    h("label", { for: id }, label),
    h("select", { id, name, "aria-invalid": error ? "true" : undefined },
      options.map(([value, text]) => h("option", { value, key: value }, text))),
    error && h("p", { class: "field-error" }, sentence(error)));
}

/** The words for the two prices are for those who cannot see that one is struck through. */
export function prices({ list, flash, currency }) {
  if (flash === undefined || flash === null || flash >= list) {
    return h("p", { class: "prices" }, h("span", { class: "price" }, money(flash ?? list, currency)));
  }
  return h("p", { class: "prices" },
    h("span", { class: "price flash" }, h("span", { class: "unseen" }, "Sale price "), money(flash, currency)),
    list !== undefined && h("s", { class: "price was" }, h("span", { class: "unseen" }, "instead of "), money(list, currency)),
    percentOff(list, flash) > 0 && h("span", { class: "off" }, `−${percentOff(list, flash)}%`));
}

export function picture(url, alt = "", props = {}) {
  return h("div", { class: "picture", ...props },
    h("img", { src: url || BLANK, alt, loading: "lazy", decoding: "async", width: "480", height: "480", onerror: swapPicture }));
}

const BLANK = "/img/box.svg";

function swapPicture({ currentTarget }) {
  if (currentTarget.getAttribute("src") !== BLANK) currentTarget.src = BLANK;
}

/** Numbers for the eye, words for the ear; not a live region, or it would speak every second. */
export function countdown(ms, className = "count") {
  return h("span", { class: className },
    h("span", { "aria-hidden": "true" }, clock(ms)),
    h("span", { class: "unseen" }, spoken(ms)));
}

export function meter({ value, label, text, kind = "" }) {
  const share = Math.max(0, Math.min(1, value));
  return h("div", {
    class: `meter ${kind}`,
    role: "progressbar",
    "aria-label": label,
    "aria-valuemin": "0",
    "aria-valuemax": "100",
    "aria-valuenow": String(Math.round(share * 100)),
    "aria-valuetext": text,
    style: { "--share": share.toFixed(4) },
  }, h("span", { class: "meter-fill" }));
}

export function stockMeter(available, stock) {
  const share = stock > 0 ? available / stock : 0;
  const kind = share <= 0.15 ? "stock low" : "stock";
  return meter({ value: share, kind, label: "Stock left", text: `${available} of ${stock} left` });
}

/** What stands where data is not yet: nothing while it is quick, an explanation and a way out when it fails. */
export function waitingFor(loads, retry) {
  const failed = Object.entries(loads).filter(([, load]) => load?.status === "failed" && !load.ready);
  if (failed.length === 0) return h("p", { class: "loading" }, "One moment…");
  const problem = failed[0][1].problem;
  if (problem.status === 404) {
    return h("div", { class: "blank" }, h("p", null, "This does not exist, or not any more."), link("See all sales", "#/", "button plain"));
  }
  return h("div", { class: "blank", role: "alert" },
    h("p", null, problemText(problem)),
    button("Try again", { onclick: () => retry(failed.map(([key]) => key)) }));
}

/** Things that cannot be taken back are asked twice, in place, without a dialog to trap the keyboard. */
export function twice({ state, act, id, label, question, yes, no, onyes, kind = "quiet" }) {
  if (state.confirm !== id) return button(label, { kind, key: `${id}-ask`, onclick: () => act.ask(id) });
  return h("div", { class: "twice", role: "group", "aria-label": question, key: `${id}-sure` },
    h("p", { tabindex: "-1", "data-focus": true }, question),
    h("div", { class: "row" },
      button(yes, { kind: "danger", onclick: onyes }),
      button(no, { kind: "plain", onclick: act.unask })));
}
