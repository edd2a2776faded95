// Numbers, money and time as people read them. Pure; the page speaks English, so does `Intl` here.

const LOCALE = "en";
const count = new Intl.NumberFormat(LOCALE);
const moneyFormats = new Map();

export function number(n) {
  return count.format(n);
}

/** `minor` in the currency's own smallest unit: yen have none below one, dinars have a thousandth. */
export function money(minor, currency) {
  if (minor === undefined || minor === null) return "";
  if (!moneyFormats.has(currency)) moneyFormats.set(currency, moneyFormat(currency));
  const { format, digits } = moneyFormats.get(currency);
  return format.format(minor / 10 ** digits);
}

function moneyFormat(currency) {
  const format = new Intl.NumberFormat(LOCALE, { style: "currency", currency: currency || "EUR" });
  return { format, digits: format.resolvedOptions().maximumFractionDigits };
}

export function percentOff(list, flash) {
  return list > flash && flash >= 0 ? Math.floor((1 - flash / list) * 100) : 0;
}

/** `0:42`, `12:05`, `1:02:03`, `2 d 3 h`. Rounded up: "0:00" must mean that it is over. */
export function clock(ms) {
  const s = Math.max(0, Math.ceil(ms / 1000));
  const pad = (n) => String(n).padStart(2, "0");
  if (s >= 86_400) return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`;
  if (s >= 3600) return `${Math.floor(s / 3600)}:${pad(Math.floor((s % 3600) / 60))}:${pad(s % 60)}`;
  return `${Math.floor(s / 60)}:${pad(s % 60)}`;
}

/** The same span for a screen reader, which would read `0:42` as a time of day. */
export function spoken(ms) {
  const s = Math.max(0, Math.ceil(ms / 1000));
  const parts = [
    [Math.floor(s / 86_400), "day"],
    [Math.floor((s % 86_400) / 3600), "hour"],
    [Math.floor((s % 3600) / 60), "minute"],
    [s % 60, "second"],
  ].filter(([n]) => n > 0);
  if (parts.length === 0) return "no time";
  return parts.slice(0, 2).map(([n, unit]) => plural(n, unit)).join(" ");
}

export function plural(n, one, many = `${one}s`) {
  return `${number(n)} ${n === 1 ? one : many}`;
}

/** An estimate should look like one: no seconds beyond the first minute. */
export function roughly(seconds) {
  if (!Number.isFinite(seconds)) return "not known yet";
  if (seconds < 10) return "a few seconds";
  if (seconds < 60) return "less than a minute";
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `about ${plural(minutes, "minute")}`;
  const hours = Math.floor(minutes / 60);
  const rest = Math.round((minutes % 60) / 5) * 5;
  if (rest === 0 || hours >= 6) return `about ${plural(hours, "hour")}`;
  return rest === 60 ? `about ${plural(hours + 1, "hour")}` : `about ${plural(hours, "hour")} ${rest} minutes`;
}

const dayAndTime = new Intl.DateTimeFormat(LOCALE, { dateStyle: "medium", timeStyle: "short" });

export function when(iso) {
  const at = Date.parse(iso);
  return Number.isNaN(at) ? "" : dayAndTime.format(at);
}

/** The value of a `datetime-local` input for an instant, in the reader's own time zone. */
export function localInput(ms) {
  const d = new Date(ms - new Date(ms).getTimezoneOffset() * 60_000);
  return d.toISOString().slice(0, 19);
}
