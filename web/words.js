// What the contract's short codes mean to a person, and what they can do about it.

const REASONS = {
  not_ready: "The shop is recounting its stock. Nothing was taken; please try again in a moment.",
  not_started: "The sale has not opened yet. Nothing was taken.",
  paused: "The sale is paused. Nothing was taken and your place is kept.",
  ended: "The sale has ended.",
  no_pass: "Your turn to buy had run out, so nothing was taken.",
  limit_reached: "You already have as many as one person may buy in this sale.",
  sold_out: "Every unit is taken at the moment. Some come back when orders stay unpaid.",
  rate_limited: "That was too many tries in a short time. Please wait a moment.",
  bad_request: "The shop did not understand this order. Nothing was taken.",
  unavailable: "The shop could not take the order just now. Nothing was taken; please try again.",
};

export function reasonText(reason) {
  return REASONS[reason] ?? "The shop could not take this order. Nothing was taken.";
}

/** Refusals after which the very same click may succeed. */
const PASSING = new Set(["not_ready", "paused", "rate_limited", "unavailable"]);
export const isPassing = (reason) => PASSING.has(reason);

const ORDER_STATUS = {
  pending: "Being confirmed",
  awaiting_payment: "Waiting for payment",
  paid: "Paid",
  cancelled: "Cancelled",
  expired: "Not paid in time",
  rejected: "Not possible",
};
export const orderStatusText = (status) => ORDER_STATUS[status] ?? status;

const PROMO_STATUS = {
  draft: "Draft",
  scheduled: "Opening soon",
  ongoing: "Open now",
  paused: "Paused",
  ended: "Ended",
};
export const promoStatusText = (status) => PROMO_STATUS[status] ?? status;

const CLOSED = {
  4500: "The shop did not recognise your log-in.",
  4501: "The shop and this page do not understand each other. Reloading the page usually helps.",
  4502: "You have this shop open in too many tabs or devices. Close one of them, then connect again.",
};

/** Why the connection stays closed: codes from 4500 say "do not reconnect by yourself". */
export function closedText(code) {
  return CLOSED[code] ?? "The shop closed this connection for good.";
}

const PROBLEMS = {
  email_taken: "There is already an account with this email. Log in instead?",
  bad_credentials: "Email and password do not match.",
  rate_limited: "That was too many tries in a short time. Please wait a moment.",
  wrong_status: "The order has moved on in the meantime; this is no longer possible.",
};

export function problemText(problem) {
  return PROBLEMS[problem.code] ?? sentence(problem.detail ?? problem.title ?? "something went wrong, please try again");
}

const ERRORS = {
  not_found: "This sale does not exist, or not any more.",
  room_full: "The waiting room is full at the moment. Please try again a little later.",
  too_many_watched: "This page follows too many sales at once. Reloading it helps.",
  unavailable: "The waiting room does not answer at the moment. Please try again.",
};

/** Why a frame did nothing, for the strip at the top. */
export function errorText({ code, message }) {
  return ERRORS[code] ?? sentence(message ?? code);
}

/** The server's own words are written to go into a sentence. */
export function sentence(text) {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}
