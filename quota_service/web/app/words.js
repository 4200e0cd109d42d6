// The words of the pages in the language of the reader, and numbers, times and amounts as people of
// that language write them. Chinese and English; whoever reads neither gets English.

const LANGUAGES = ["en", "zh"];
const CHOSEN = "quota-language";

export const language = chosen();
const LOCALE = { en: "en-GB", zh: "zh-CN" }[language];
const plurals = new Intl.PluralRules(LOCALE);
const numbers = new Intl.NumberFormat(LOCALE);
let words = {};
let advices = {};

function chosen() {
  const asked = new URLSearchParams(location.search).get("lang") ?? remembered();
  if (LANGUAGES.includes(asked)) return asked;
  const spoken = navigator.languages.map((tag) => tag.slice(0, 2).toLowerCase());
  return spoken.find((tag) => LANGUAGES.includes(tag)) ?? "en";
}

function remembered() {
  try {
    return localStorage.getItem(CHOSEN);
  } catch {
    return null; // a browser that keeps nothing
  }
}

/** Shows the page in another language from now on. */
export function chooseLanguage(tag) {
  try {
    localStorage.setItem(CHOSEN, tag);
  } catch {
    // the address alone says it
  }
  const url = new URL(location.href);
  url.searchParams.set("lang", tag);
  location.assign(url);
}

/** Loads the words of parts of the pages ("base" is always among them); call it first. */
export async function loadWords(...names) {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  const files = ["base", ...names].map((name) => file(`../words/${name}.${language}.json`));
  words = Object.assign({}, ...(await Promise.all(files)));
}

/** Loads what to tell people for each refusal. */
export async function loadAdvice() {
  advices = await file("../advice.json");
}

async function file(relative) {
  const response = await fetch(new URL(relative, import.meta.url));
  if (!response.ok) throw new Error(`${relative}: HTTP ${response.status}`);
  return response.json();
}

/**
 * The words of a key, with `{names}` filled in. A key with forms for plurals goes by `n`:
 * {"one": "{n} seat", "other": "{n} seats"}. Numbers are written as the language writes them.
 */
export function t(key, members = {}) {
  let found = words[key];
  if (found === undefined) return key;
  if (typeof found === "object") found = found[plurals.select(members.n)] ?? found.other;
  return found.replace(/\{(\w+)\}/g, (whole, name) => {
    const value = members[name];
    if (value === undefined) return whole;
    return typeof value === "number" ? numbers.format(value) : value;
  });
}

/** What to tell people about a refusal, or null where nothing is written about it. */
export function advice(slug) {
  return advices[slug]?.[language] ?? null;
}

/** A text of a definition: plain, or by language. */
export function text(given) {
  if (given === undefined || given === null) return "";
  if (typeof given === "string") return given;
  const tags = Object.keys(given);
  const tag = tags.find((each) => each.slice(0, 2) === language) ?? (given.en ? "en" : tags[0]);
  return given[tag];
}

export const number = (value) => numbers.format(value);

/** An amount in the minor unit of its currency: 16000 and "CNY" are 160.00. */
export function money(amount, currency) {
  const format = new Intl.NumberFormat(LOCALE, { style: "currency", currency });
  return format.format(amount / 10 ** format.resolvedOptions().maximumFractionDigits);
}

/** A moment (text of RFC 3339 or milliseconds) in a time zone, with its day unless that is today. */
export function moment(when, timeZone, { seconds = false } = {}) {
  const date = new Date(when);
  const day = (each) => each.toLocaleDateString(LOCALE, { timeZone });
  const time = { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone };
  if (seconds) time.second = "2-digit";
  if (day(date) === day(new Date())) return date.toLocaleTimeString(LOCALE, time);
  return date.toLocaleString(LOCALE, { year: "numeric", month: "long", day: "numeric", ...time });
}

/** A time that is left, in milliseconds, as a clock shows it: 1:05:09, 04:30. */
export function countdown(leftMs) {
  const all = Math.max(0, Math.ceil(leftMs / 1000));
  const two = (value) => String(value).padStart(2, "0");
  const [hours, minutes, secs] = [Math.floor(all / 3600), Math.floor(all / 60) % 60, all % 60];
  if (hours >= 48) return t("days", { n: Math.floor(hours / 24) });
  return hours ? `${hours}:${two(minutes)}:${two(secs)}` : `${two(minutes)}:${two(secs)}`;
}

/** About how long something takes, in seconds, as people say it. */
export function about(seconds) {
  if (seconds < 60) return t("seconds", { n: Math.max(1, Math.round(seconds)) });
  if (seconds < 5400) return t("minutes", { n: Math.round(seconds / 60) });
  if (seconds < 172_800) return t("hours", { n: Math.round(seconds / 3600) });
  return t("days", { n: Math.round(seconds / 86_400) });
}
