// The REST side. One function per call, one kind of failure: `ApiError`, which carries the problem document.

const ROOT = "/api/v1";

export class ApiError extends Error {
  constructor(problem) {
    super(problem.detail ?? problem.title ?? problem.code);
    this.problem = problem;
  }
}

const UNREACHABLE = { status: 0, code: "unreachable", detail: "The shop cannot be reached. Check your connection and try again." };

export function createApi({ token, fetch = (...args) => globalThis.fetch(...args) }) {
  async function call(method, path, body) {
    const headers = { accept: "application/json" };
    if (token()) headers.authorization = `Bearer ${token()}`;
    if (body !== undefined) headers["content-type"] = "application/json";
    let response;
    try {
      response = await fetch(ROOT + path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
    } catch {
      throw new ApiError(UNREACHABLE);
    }
    if (!response.ok) throw new ApiError(await problemOf(response));
    return response.status === 204 ? null : response.json();
  }

  const get = (path) => call("GET", path);
  const post = (path, body) => call("POST", path, body);
  const patch = (path, body) => call("PATCH", path, body);

  return {
    register: (body) => post("/users", body),
    logIn: (body) => post("/sessions", body),
    me: () => get("/users/me"),
    changeMe: (body) => patch("/users/me", body),

    items: (after) => get(`/items${page(PAGE, after)}`),
    item: (id) => get(`/items/${id}`),
    createItem: (body) => post("/items", body),
    restock: (id, delta) => post(`/items/${id}/stock`, { delta }),

    promos: (after) => get(`/promos${page(PAGE, after)}`),
    promo: (id) => get(`/promos/${id}`),
    createPromo: (body) => post("/promos", body),
    movePromo: (id, verb) => post(`/promos/${id}/${verb}`),
    setAdmission: (id, body) => patch(`/promos/${id}/admission`, body),
    audit: (id) => get(`/promos/${id}/audit`),
    draw: (id, after) => get(`/promos/${id}/draw${page(1000, after)}`),

    orders: (after) => get(`/orders${page(PAGE, after)}`),
    order: (id) => get(`/orders/${id}`),
    pay: (id) => post(`/orders/${id}/pay`),
    cancel: (id) => post(`/orders/${id}/cancel`),
  };
}

const PAGE = 50;

function page(limit, after) {
  const cursor = after === undefined || after === null ? "" : `&after=${encodeURIComponent(after)}`;
  return `?limit=${limit}${cursor}`;
}

/** A proxy in between may answer with a page of its own; that is still a failure with a status. */
async function problemOf(response) {
  const fallback = { status: response.status, code: "unexpected", title: `The shop answered with ${response.status}.` };
  try {
    return { ...fallback, ...(await response.json()) };
  } catch {
    return fallback;
  }
}
