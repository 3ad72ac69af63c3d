// The dashboard's chart: first data from the page, then patches whenever a notice concerns what it shows.

import { openDrawer } from "desk/drawer";
import { number, percent } from "desk/theme";
import { TradeChart } from "desk/tradechart";

const SPACING = 300;
const element = document.getElementById("chart");

if (element) start(element, JSON.parse(document.getElementById("chart-data").textContent));

function start(box, data) {
  const view = new TradeChart(box.firstElementChild, data);
  box.deskChart = view;
  describe(view);

  view.chart.subscribeClick((event) => {
    const seconds = view.decisionAt(event);
    if (seconds) openDrawer(`/decisions/${box.dataset.agent}/${seconds}/`, box);
  });
  view.chart.subscribeCrosshairMove((event) => {
    view.chart.chartElement().style.cursor = view.decisionAt(event) ? "pointer" : "default";
  });

  let timer = null;
  let last = 0;
  const fetchNew = () => {
    if (timer !== null || document.visibilityState !== "visible") return;
    timer = setTimeout(async () => {
      last = Date.now();
      await patch(view, box.dataset.url).catch(() => {});
      timer = null;
    }, Math.max(0, last + SPACING - Date.now()));
  };
  document.addEventListener("desk:notice", ({ detail }) => {
    if (concerns(detail, box.dataset)) fetchNew();
  });
  // A tab that was hidden catches up in one step.
  document.addEventListener("visibilitychange", fetchNew);
  panToThePast(view, box.dataset.url);
}

function concerns(notice, about) {
  if (notice.kind === "refresh") return true;
  if (notice.kind === "bar") return String(notice.instrument) === about.instrument;
  if (notice.kind === "decision") return String(notice.agent) === about.agentId;
  return ["fill", "equity"].includes(notice.kind) && String(notice.book) === about.book;
}

async function patch(view, url) {
  // A fill may still arrive for the bar before the newest one.
  const since = view.bars.length > 1 ? view.bars[view.bars.length - 2][0] : 1;
  const answer = await fetch(`${url}?since=${since}`);
  if (!answer.ok) return;
  view.patch(await answer.json());
  describe(view);
}

function panToThePast(view, url) {
  let busy = false;
  let ended = false;
  view.chart.timeScale().subscribeVisibleLogicalRangeChange(async (range) => {
    if (!range || range.from > 10 || !view.touched || busy || ended || !view.bars.length) return;
    busy = true;
    const answer = await fetch(`${url}?before=${view.bars[0][0]}`).catch(() => null);
    if (answer?.ok) ended = view.prepend(await answer.json()) === 0;
    busy = false;
  });
}

function describe(view) {
  const bars = view.bars;
  if (bars.length) {
    const close = bars[bars.length - 1][4];
    const before = bars.length > 1 ? bars[bars.length - 2][4] : close;
    const change = document.querySelector("[data-change]");
    document.querySelector("[data-quote]").textContent = number(close, view.data.places);
    change.textContent = percent(close / before - 1);
    change.className = `num small ${close > before ? "gain" : close < before ? "loss" : "muted"}`;
  }
  document.querySelector("[data-chart-words]").textContent = view.words();
}
