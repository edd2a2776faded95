// The part of the address after `#` and the view it names. Hash routes: the server serves files only.

// Singular is how the page writes it; the API's plural is understood, since people copy addresses together.
const PATTERNS = [
  [/^\/?$/, () => ({ name: "sale" })],
  [/^\/login$/, () => ({ name: "login" })],
  [/^\/register$/, () => ({ name: "register" })],
  [/^\/orders$/, () => ({ name: "orders" })],
  [/^\/profile$/, () => ({ name: "profile" })],
  [/^\/admin$/, () => ({ name: "admin" })],
  [/^\/items?\/(\d+)$/, (id) => ({ name: "item", id: Number(id) })],
  [/^\/promos?\/(\d+)$/, (id) => ({ name: "promo", id: Number(id) })],
  [/^\/promos?\/(\d+)\/draw$/, (id) => ({ name: "draw", id: Number(id) })],
];

export function parseRoute(hash) {
  const path = hash.replace(/^#/, "");
  for (const [pattern, make] of PATTERNS) {
    const found = pattern.exec(path);
    if (found) return make(...found.slice(1));
  }
  return { name: "missing" };
}

export function href(route) {
  switch (route.name) {
    case "sale": return "#/";
    case "item": return `#/item/${route.id}`;
    case "promo": return `#/promo/${route.id}`;
    case "draw": return `#/promo/${route.id}/draw`;
    case "missing": return "#/";
    default: return `#/${route.name}`;
  }
}

const PRIVATE = new Set(["orders", "profile", "admin"]);
export const needsSession = (route) => PRIVATE.has(route.name);

const DOORS = new Set(["login", "register"]);
export const isDoor = (route) => DOORS.has(route.name);
