/* Extras for browsers with JavaScript: local times, keyboard shortcuts, live updates. Every page and form works without
   it, in UTC. The header names the time zone. Nothing here writes markup made of data. */
"use strict";

const two = (number) => String(number).padStart(2, "0");
const day = (at) => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
const minute = (at) => `${two(at.getHours())}:${two(at.getMinutes())}`;
const zone = (at) =>
  new Intl.DateTimeFormat("en", { timeZoneName: "short" }).formatToParts(at).find((part) => part.type === "timeZoneName").value;
const FORMS = {
  zoned: (at) => `${FORMS.whole(at)} ${zone(at)}`,
  whole: (at) => `${day(at)} ${minute(at)}:${two(at.getSeconds())}`,
  minute,
  day: (at) => day(at).slice(5),
};

function localize(root) {
  for (const time of root.querySelectorAll("[data-at]")) {
    const at = new Date(time.dataset.at);
    if (!Number.isNaN(at.getTime())) time.textContent = FORMS[time.dataset.form](at) + (time.dataset.after ?? "");
  }
}

/* Keys: elements with data-key are clicked or focused by that key; j and k go through data-stop. */
const shown = (element) => element.getClientRects().length > 0;

function step(by) {
  const stops = [...document.querySelectorAll("[data-stop]")].filter(shown);
  const here = stops.findIndex((stop) => stop.contains(document.activeElement));
  const next = stops[here < 0 ? (by > 0 ? 0 : stops.length - 1) : here + by];
  if (!next) return;
  next.focus();
  next.scrollIntoView({ block: "nearest" });
}

function onKey(event) {
  const typing = event.target.closest("input, textarea, select");
  if (typing && event.key === "Escape") return typing.blur();
  if (typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.key === "j" || event.key === "k") return step(event.key === "j" ? 1 : -1);
  const found = [...document.querySelectorAll("[data-key]")].find(
    (element) => element.dataset.key === event.key && shown(element),
  );
  if (!found) return;
  event.preventDefault();
  if (found.matches("input")) found.focus();
  else found.click();
}

/* Live: the server reports new counts, and the page is fetched again. */
const PAUSED = "shadowdiff-paused";
let source = null;
let isLoading = false;

const nameOf = (element) =>
  element && (element.id || element.getAttribute("href") || element.querySelector(":scope > summary")?.textContent);

function busy(main) {
  const selection = document.getSelection();
  if (selection && !selection.isCollapsed) return true;
  return [...main.querySelectorAll("input, textarea, select")].some(
    (field) => field === document.activeElement || (field.type !== "hidden" && field.value !== field.defaultValue && field.tagName !== "SELECT"),
  );
}

async function reload() {
  const main = document.querySelector("main");
  if (isLoading || busy(main)) return;
  isLoading = true;
  try {
    const answer = await fetch(location.href, { redirect: "error" });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (busy(main)) return;
    const open = new Set([...main.querySelectorAll("details[open]")].map(nameOf));
    const focused = main.contains(document.activeElement) ? nameOf(document.activeElement) : null;
    for (const fold of fresh.querySelectorAll("main details")) if (open.has(nameOf(fold))) fold.open = true;
    main.replaceChildren(...fresh.querySelector("main").childNodes);
    document.querySelector(".as-of time")?.replaceWith(fresh.querySelector(".as-of time"));
    document.title = fresh.title;
    localize(document);
    if (focused) [...main.querySelectorAll("a, [id], summary")].find((e) => nameOf(e) === focused)?.focus({ preventScroll: true });
  } catch {
    /* The next event retries. */
  } finally {
    isLoading = false;
  }
}

function follow() {
  const button = document.querySelector("[data-live]");
  if (!button) return;
  const paused = sessionStorage.getItem(PAUSED) === "yes";
  button.textContent = paused ? "Paused" : "Live";
  button.setAttribute("aria-pressed", String(!paused));
  source?.close();
  source = null;
  if (paused || document.hidden) return;
  source = new EventSource(button.dataset.live);
  source.addEventListener("counted", reload);
}

function started() {
  document.documentElement.classList.add("js");
  localize(document);
  document.addEventListener("keydown", onKey);
  document.addEventListener("visibilitychange", follow);
  window.addEventListener("pagehide", () => source?.close());
  document.addEventListener("click", async (event) => {
    const element = event.target.closest("[data-live], [data-opens], [data-copies]");
    if (!element) return;
    if (element.dataset.opens) return document.getElementById(element.dataset.opens).showModal();
    if (element.dataset.copies) {
      await navigator.clipboard?.writeText(document.getElementById(element.dataset.copies).textContent);
      element.textContent = "Copied";
      return;
    }
    sessionStorage.setItem(PAUSED, sessionStorage.getItem(PAUSED) === "yes" ? "no" : "yes");
    follow();
  });
  for (const form of document.querySelectorAll("form[data-sends]")) form.addEventListener("change", () => form.requestSubmit());
  follow();
}

started();
