// "Check the draw": the shop's promise, recomputed on the shopper's own machine.

import { h } from "../dom.js";
import { canCheck, ownPlaceHolds } from "../draw.js";
import { number } from "../format.js";
import { href } from "../routes.js";
import { livePromo } from "../select.js";
import { problemText } from "../words.js";
import { heading } from "./heading.js";
import { button, link, waitingFor } from "./parts.js";

export function drawView(state, act) {
  const { id } = state.route;
  const promo = livePromo(state, id);
  if (!promo) return [heading("Check the draw"), waitingFor({ [`promo:${id}`]: state.loads[`promo:${id}`] }, act.retryLoad)];
  return h("div", { class: "reading" },
    h("p", { class: "crumb" }, link(`← ${promo.title}`, href({ name: "promo", id }))),
    heading("Check the draw"),
    h("p", { class: "lede" }, "Before the sale we published the fingerprint of a secret seed; at opening, the seed. Your browser can now work out the order by itself and compare."),
    h("dl", { class: "facts stacked" },
      h("div", null, h("dt", null, "Fingerprint, published before"), h("dd", null, h("code", { class: "mono" }, promo.seed_commit))),
      h("div", null, h("dt", null, "Seed, published at opening"), h("dd", null, promo.seed ? h("code", { class: "mono" }, promo.seed) : "not yet"))),
    promo.seed ? checker(state, act, promo) : h("p", { class: "strip info" }, "The seed is published when the sale opens. Come back then."));
}

function checker(state, act, promo) {
  if (!canCheck()) {
    return h("p", { class: "strip warn" }, "This browser only offers the needed cryptography on secure pages (https or localhost). Open the shop over https to run the check; everything it uses is shown above.");
  }
  const draw = state.draws[promo.id];
  const running = draw?.status === "running";
  return h("section", { "aria-label": "Result" },
    button(running ? "Checking…" : draw ? "Check again" : "Check now", { kind: "primary big-button", busy: running, onclick: () => act.checkDraw(promo.id), key: "check" }),
    draw?.list && h("ol", { class: "checks", key: "checks" }, steps(state, draw)),
    draw?.status === "failed" && h("p", { class: "strip bad", role: "alert" }, problemText(draw.problem)),
    draw?.status === "early" && h("p", { class: "strip info" }, "The seed is not published yet."),
    draw?.status === "done" && verdict(draw));
}

function steps(state, draw) {
  const done = draw.status === "done";
  const holds = ownPlaceHolds({ ...draw, done });
  return [
    step(draw.commit, "The seed fits the fingerprint", "SHA-256 of the seed is the value that was published before the sale."),
    step(done ? draw.list.ordered : null, `The list is in key order (${number(draw.list.count)} ${draw.list.count === 1 ? "entry" : "entries"} read)`, "Numbers count from 1 without gaps, and keys only rise."),
    state.session
      ? step(holds, ownTitle(draw, done), [draw.ownKey && h("span", null, "Your key, computed here: ", h("code", { class: "mono short" }, draw.ownKey))], done)
      : step(null, "Your own place", ["Log in to check your own place. ", link("Log in", "#/login")], true),
  ];
}

function ownTitle(draw, done) {
  if (!done) return "Your own place";
  if (draw.list.mine !== null) return `Your key stands at number ${number(draw.list.mine)}`;
  return "You were not in the lobby at opening";
}

function step(holds, title, text, settled = false) {
  const [mark, word] = holds === true ? ["yes", "Right: "] : holds === false ? ["no", "Wrong: "] : settled ? ["none", ""] : ["wait", "Checking: "];
  return h("li", { class: `check ${mark}`, key: title.slice(0, 8), "data-check": mark },
    h("p", { class: "check-title" }, h("span", { class: "unseen" }, word), title),
    h("p", { class: "muted" }, text));
}

function verdict(draw) {
  const holds = ownPlaceHolds({ ...draw, done: true });
  const fine = draw.commit && draw.list.ordered && holds !== false;
  return h("p", { class: `strip ${fine ? "good" : "bad"}`, role: "status", key: "verdict", "data-verdict": fine ? "fair" : "unfair" },
    fine ? "Everything fits. The order was settled by the seed and by nothing else." : "This does not fit. Please keep the values above and ask the shop.");
}
