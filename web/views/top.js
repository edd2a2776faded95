// The bar at the top: where one can go, and who one is.

import { h } from "../dom.js";

export function topBar({ session, route }, act) {
  const to = (label, hash, names) =>
    h("a", { href: hash, "aria-current": names.includes(route.name) ? "page" : undefined }, label);
  return h("div", { class: "top-inner" },
    h("a", { class: "brand", href: "#/", "aria-label": "PanicBuying, home" },
      h("img", { src: "/favicon.svg", alt: "", width: "28", height: "28" }),
      h("span", null, "PanicBuying")),
    h("nav", { class: "nav", "aria-label": "Main" },
      to("Sales", "#/", ["sale", "promo", "item", "draw"]),
      session && to("My orders", "#/orders", ["orders"]),
      session?.user.role === "admin" && to("Shop desk", "#/admin", ["admin"]),
      session
        ? to(session.user.display_name || "Profile", "#/profile", ["profile"])
        : to("Log in", "#/login", ["login", "register"]),
      session && h("button", { type: "button", class: "nav-button", onclick: act.logOut }, "Log out")));
}
