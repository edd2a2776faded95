// What outlives a reload: the session (shared by all tabs) and orders whose answer is still out (this tab's).

const SESSION = "panicbuy.session";
const REQUESTS = "panicbuy.requests";

export function readSession(now = Date.now()) {
  const session = read(localStorage, SESSION);
  return session?.token && Date.parse(session.expires_at) > now ? session : null;
}

export function keepSession(session) {
  write(localStorage, SESSION, session);
}

export function readRequests() {
  const requests = read(sessionStorage, REQUESTS);
  return Array.isArray(requests) ? requests : [];
}

/** Before the frame leaves: should the page be reloaded in between, the same id is sent again. */
export function keepRequests(requests) {
  const open = Object.values(requests).filter((request) => request.status === "sending");
  write(sessionStorage, REQUESTS, open.length > 0 ? open : null);
}

/** Another tab logged in or out. */
export function onSessionElsewhere(listener) {
  addEventListener("storage", (event) => {
    if (event.key === SESSION || event.key === null) listener(readSession());
  });
}

// Storage can be forbidden or full; the page then works for this tab and this load only.
function read(storage, key) {
  try {
    return JSON.parse(storage.getItem(key));
  } catch {
    return null;
  }
}

function write(storage, key, value) {
  try {
    if (value === null) storage.removeItem(key);
    else storage.setItem(key, JSON.stringify(value));
  } catch { /* see above */ }
}
