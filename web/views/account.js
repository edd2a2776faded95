// Registering, logging in, and one's own name.

import { h } from "../dom.js";
import { when } from "../format.js";
import { field, form } from "./parts.js";
import { heading } from "./heading.js";

const FAREWELLS = {
  expired: "Your log-in has run out. Log in again to go on; your places and orders are kept.",
};

export function loginView({ forms, farewell, returnTo }, act) {
  const errors = forms.login?.errors ?? {};
  return h("div", { class: "narrow-view" },
    heading("Log in"),
    FAREWELLS[farewell]
      ? h("p", { class: "strip warn", role: "status" }, FAREWELLS[farewell])
      : returnTo && returnTo !== "#/" && h("p", { class: "lede" }, "You will come right back to where you were."),
    form({ name: "login", label: "Log in", state: forms.login, submit: "Log in", onsubmit: act.logIn },
      field({ form: "login", name: "email", label: "Email", type: "email", autocomplete: "username", required: true, error: errors.email }),
      field({ form: "login", name: "password", label: "Password", type: "password", autocomplete: "current-password", required: true, error: errors.password })),
    h("p", { class: "aside" }, "New here? ", h("a", { href: "#/register" }, "Create an account")));
}

export function registerView({ forms }, act) {
  const errors = forms.register?.errors ?? forms.login?.errors ?? {};
  return h("div", { class: "narrow-view" },
    heading("Create an account"),
    h("p", { class: "lede" }, "One account, one place in each queue: the same on every tab and device."),
    form({ name: "register", label: "Create an account", state: forms.register, submit: "Create account", onsubmit: act.register },
      field({ form: "register", name: "display_name", label: "Name", autocomplete: "nickname", required: true, error: errors.display_name }),
      field({ form: "register", name: "email", label: "Email", type: "email", autocomplete: "username", required: true, error: errors.email }),
      field({ form: "register", name: "password", label: "Password", type: "password", autocomplete: "new-password", required: true, error: errors.password })),
    h("p", { class: "aside" }, "Already have one? ", h("a", { href: "#/login" }, "Log in")));
}

export function profileView({ session, forms }, act) {
  if (!session) return heading("Profile");
  const { user } = session;
  return h("div", { class: "narrow-view" },
    heading("Profile"),
    form({ name: "profile", label: "Profile", state: forms.profile, submit: "Save", onsubmit: act.rename },
      field({ form: "profile", name: "display_name", label: "Name", value: user.display_name, autocomplete: "nickname", required: true, error: forms.profile?.errors?.display_name })),
    h("dl", { class: "facts" },
      h("div", null, h("dt", null, "Email"), h("dd", null, user.email)),
      h("div", null, h("dt", null, "With us since"), h("dd", null, when(user.created_at)))));
}
