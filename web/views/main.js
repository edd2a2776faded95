// Route to view.

import { h } from "../dom.js";
import { adminView } from "./admin.js";
import { loginView, profileView, registerView } from "./account.js";
import { drawView } from "./draw.js";
import { itemView } from "./item.js";
import { ordersView } from "./orders.js";
import { promoView } from "./promo.js";
import { saleView } from "./sale.js";
import { heading } from "./heading.js";

const VIEWS = {
  sale: saleView,
  login: loginView,
  register: registerView,
  profile: profileView,
  orders: ordersView,
  item: itemView,
  promo: promoView,
  draw: drawView,
  admin: adminView,
  missing: missingView,
};

export function mainView(state, act) {
  const { route } = state;
  // The key makes another view, or another promo, a new element: no half-typed input travels along.
  return h("div", { class: `view ${route.name}-view`, key: `${route.name}-${route.id ?? ""}` }, VIEWS[route.name](state, act));
}

function missingView() {
  return [heading("There is nothing here"), h("p", null, h("a", { href: "#/" }, "See all sales"))];
}
