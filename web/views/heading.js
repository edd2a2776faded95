// Every view starts with one heading that can take the focus when the view is entered.

import { h } from "../dom.js";

export function heading(text, props = {}) {
  return h("h1", { tabindex: "-1", key: "heading", ...props }, text);
}
