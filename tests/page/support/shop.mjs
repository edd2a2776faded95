// The shop from behind the counter: what a test needs to exist before a person comes, made over REST.

import { ADMIN } from "./server.mjs";

export class Shop {
  constructor(url) {
    this.url = url;
  }

  async call(method, path, body, token = this.token) {
    const response = await fetch(`${this.url}/api/v1${path}`, {
      method,
      headers: {
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...(token ? { authorization: `Bearer ${token}` } : {}),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text ? JSON.parse(text) : null;
  }

  async open() {
    this.token = (await this.call("POST", "/sessions", ADMIN)).token;
    return this;
  }

  item(fields = {}) {
    return this.call("POST", "/items", {
      title: "Aurora runner", description: "Light, quiet, and made to be worn.", image_url: "/img/sneaker.svg",
      price_minor: 12_900, stock: 100, ...fields,
    });
  }

  async promo({ opensIn = 1500, lasts = 3_600_000, admission = {}, publish = true, ...fields } = {}) {
    const item_id = fields.item_id ?? (await this.item()).id;
    const now = Date.now();
    const promo = await this.call("POST", "/promos", {
      title: "Aurora runner", price_minor: 7_900, stock: 10, per_user_limit: 1,
      starts_at: new Date(now + opensIn).toISOString(),
      ends_at: new Date(now + opensIn + lasts).toISOString(),
      admission: { rate_per_s: 50, max_active: 50, pass_ttl_ms: 60_000, ...admission },
      payment_window_ms: 300_000,
      ...fields,
      item_id,
    });
    return publish ? this.call("POST", `/promos/${promo.id}/publish`) : promo;
  }

  audit(id) {
    return this.call("GET", `/promos/${id}/audit`);
  }

  /** A registered shopper with a session, as the page keeps it. */
  async shopper(name = "Mira") {
    const email = `${name.toLowerCase()}-${Math.random().toString(36).slice(2, 10)}@mail.example`;
    const password = "a long enough password";
    await this.call("POST", "/users", { email, password, display_name: name }, null);
    const session = await this.call("POST", "/sessions", { email, password }, null);
    return { email, password, session };
  }

  orders(session) {
    return this.call("GET", "/orders", undefined, session.token).then((page) => page.data);
  }
}
