// The Data page: glue between its chart, its cards and the notices.

import { chartWords, showChips, showLegend, shownWords, when } from "desk/data_legend";
import { BarWindow } from "desk/data_window";
import { DataChart } from "desk/datachart";
import { number, percent } from "desk/theme";
import "desk/data_finder";

const MOST_INDICATORS = 8;
const element = document.getElementById("data-chart");
if (element) start(element, JSON.parse(document.getElementById("chart-data").textContent));

function start(box, answer) {
  const card = document.getElementById("chart-card");
  const find = (name) => card.querySelector(`[data-${name}]`);
  const places = Number(box.dataset.places);
  const boxes = [...card.querySelectorAll("#indicators input[type=checkbox]")];
  let interval = answer.interval;
  let watched = box.dataset.stream;
  const chosen = () => boxes.filter((one) => one.checked).map((one) => one.value);
  const question = () => ({ interval: String(interval), with: chosen().join(","), ...(watched ? { stream: watched } : {}) });

  const view = new DataChart(box.firstElementChild, { places, hasVolume: box.dataset.volume === "1" });
  const held = new BarWindow(view, box.dataset.url, question, answer);
  box.deskData = held;

  let spoken = null;
  let names = "";
  function show(trouble = "") {
    const range = held.scale.getVisibleLogicalRange() ?? { from: 0, to: 0 };
    const n = Math.max(0, Math.min(view.bars.length - 1, Math.floor(range.to)) - Math.max(0, Math.ceil(range.from)) + 1);
    find("shown").textContent = trouble || shownWords(held.answer, n);
    find("shown").classList.toggle("warn", Boolean(trouble));
    showLegend(find("legend"), view, held.answer, places);
    quote(held.answer.quote);
    const drawn = [...view.drawn.keys()].join();
    if (drawn !== names) {
      names = drawn;
      box.dataset.panes = Math.min(view.nPanes, 4);
      showChips(find("chips"), view, (name) => pick(name, false));
    }
    const parameters = new URLSearchParams({ ...question(), from: String(Math.floor(held.timeAt(range.from))), to: String(Math.ceil(held.timeAt(range.to))), points: "2000" });
    find("csv-link").href = `${box.dataset.csv}?${parameters}`;
    clearTimeout(spoken);
    spoken = setTimeout(() => { find("chart-words").textContent = chartWords(view, held.answer, range, places); }, 300);
  }

  function quote(now) {
    if (!now) return;
    find("quote").textContent = number(now.price, places);
    const change = find("change");
    change.textContent = now.change === null ? "" : percent(now.change);
    const shown = Math.round((now.change ?? 0) * 1e4);
    change.className = `num small ${shown > 0 ? "gain" : shown < 0 ? "loss" : "muted"}`;
    change.title = now.since ? `since the close of ${when(now.since, 86400)}` : "";
  }

  function remember() {
    const parameters = new URLSearchParams(question());
    history.replaceState(history.state, "", `${location.pathname}?${parameters.toString().replaceAll("%2C", ",")}`);
  }

  async function switchTo(seconds, time = null) {
    const before = { interval, watched };
    const middle = time ?? (held.atNewest && !held.looksBack ? null : held.timeAt(middleOf(held)));
    interval = seconds;
    if (time === null) watched = watched && seconds === Number(before.interval) ? watched : "";
    for (const link of card.querySelectorAll("[data-interval]")) {
      const on = Number(link.dataset.interval) === seconds;
      link.classList.toggle("on", on);
      if (on) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    card.querySelector(".badge.replay")?.classList.toggle("hidden", !watched);
    if (await (middle === null ? held.newest() : held.around(middle, seconds))) remember();
  }

  async function pick(name, on) {
    const one = boxes.find((other) => other.value === name);
    if (on && chosen().length > MOST_INDICATORS) {
      one.checked = false;
      find("menu-note").textContent = `A chart shows at most ${MOST_INDICATORS}: take one off first.`;
      return;
    }
    one.checked = on;
    find("n-indicators").textContent = String(chosen().length);
    if (await held.again()) remember();
  }

  held.onChange(show);
  show();
  view.chart.subscribeCrosshairMove(({ time }) => {
    const index = time === undefined ? null : held.indexAt(time);
    showLegend(find("legend"), view, held.answer, places, index);
  });
  view.chart.timeScale().subscribeSizeChange(() => held.touched || held.showNewest());
  for (const kind of ["pointerdown", "wheel", "touchstart"]) box.addEventListener(kind, () => { held.touched = true; }, { passive: true });

  card.addEventListener("click", (event) => {
    const link = event.target.closest("[data-interval]");
    if (link && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      switchTo(Number(link.dataset.interval));
    }
    if (event.target.closest("[data-everything]")) {
      held.touched = true;
      held.everything();
    }
    if (event.target.closest("[data-newest]")) held.newest();
    if (event.target.closest("[data-fullscreen]")) whole(card);
  });
  card.addEventListener("change", (event) => {
    if (event.target.matches("#indicators input[type=checkbox]")) pick(event.target.value, event.target.checked);
  });
  card.querySelector("#indicator-filter")?.addEventListener("input", (event) => {
    const text = event.target.value.trim().toLowerCase();
    for (const label of card.querySelectorAll("#indicators label[data-name]")) label.classList.toggle("hidden", !label.dataset.name.includes(text));
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-show-at]");
    if (!button) return;
    held.touched = true;
    watched = "";
    const [at, to] = [Number(button.dataset.showAt), Number(button.dataset.showTo || button.dataset.showAt)];
    const seconds = Number(button.dataset.showInterval);
    switchTo(seconds, to - at < 150 * seconds ? (at + to) / 2 : at);
    card.scrollIntoView({ block: "nearest" });
  });
  document.addEventListener("desk:notice", ({ detail }) => {
    const mine = ["bar", "tick"].includes(detail.kind) && String(detail.instrument) === box.dataset.instrument && (!watched || String(detail.stream) === watched);
    if (mine || detail.kind === "refresh") held.refresh();
  });
  // A tab that was hidden catches up in one step.
  document.addEventListener("visibilitychange", () => held.refresh());
}

function middleOf(held) {
  const range = held.scale.getVisibleLogicalRange();
  return Math.min(Math.max((range.from + range.to) / 2, 0), held.bars.length - 1);
}

async function whole(card) {
  if (document.fullscreenElement) await document.exitFullscreen();
  else await card.requestFullscreen?.().catch(() => {});
}

document.addEventListener("fullscreenchange", () => {
  const button = document.querySelector("[data-fullscreen]");
  const on = Boolean(document.fullscreenElement);
  button?.setAttribute("aria-label", on ? "Back to the page" : "Whole screen");
  button?.setAttribute("title", on ? "Back to the page" : "Whole screen");
});

// An open menu closes when something else is pressed, or with Escape.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && document.querySelector("details.menu[open]");
  if (!menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});

// Buttons of a card answer with the card; which of a form's buttons it was goes along.
document.addEventListener("submit", (event) => {
  const form = event.target;
  const panel = form.closest("[data-panel]");
  if (!panel || !form.matches("[data-post]")) return;
  event.preventDefault();
  const values = Object.fromEntries(new FormData(form, event.submitter));
  for (const button of form.querySelectorAll("button")) button.disabled = true;
  htmx.ajax("POST", form.action, { target: panel, source: panel, swap: "outerHTML", values }).catch(() => form.submit());
});

