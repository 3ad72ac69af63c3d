// The learning curves of one run: uPlot pictures that grow point by point, without a redraw that jumps.

import { faded, number, token } from "desk/theme";

const LINES = ["accent", "warn", "mind", "quiet"];
const DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3]];
const ACTION_TONES = [[/^buy|^long/, "gain"], [/^sell|^short/, "loss"], [/^hold|^flat|^none/, "quiet"]];
const HEIGHT = 170;
const TALL = 260;

/** A step count in few letters: 14k, 1.2M. */
export function steps(value) {
  if (Math.abs(value) >= 1e6) return `${number(value / 1e6, value % 1e6 ? 1 : 0)}M`;
  return Math.abs(value) >= 1e4 ? `${number(value / 1e3, 0)}k` : number(value, 0);
}

/** A value of any size in few digits. */
export function short(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size >= 1000) return number(value, 0);
  if (size === 0) return "0";
  if (size < 0.001) return value.toExponential(1).replaceAll("-", "−");
  return number(value, size >= 100 ? 1 : size >= 0.1 ? 2 : 4);
}

/** The lines of one chart: which numbers, how they are called, which colour and dash. counted: parts of the reward that have a weight. */
export function linesOf(chart, names, labels, counted = []) {
  const mine = {
    return: names.filter((name) => name === "episode_return"),
    losses: names.filter((name) => name.startsWith("loss/")),
    actions: names.filter((name) => name.startsWith("action/")),
    rewards: names.filter((name) => name.startsWith("reward/") && (!counted.length || counted.includes(name))),
    speed: names.filter((name) => name === "steps_per_second"),
  }[chart] ?? [];
  const used = new Map();
  return mine.map((name, place) => {
    const tone = (chart === "actions" && toneOf(name.split("/")[1])) || LINES[place % LINES.length];
    const again = used.get(tone) ?? 0;
    used.set(tone, again + 1);
    return { name, label: labels[name] ?? name, tone, dash: DASHES[again % DASHES.length] };
  });
}

function toneOf(label) {
  return ACTION_TONES.find(([pattern]) => pattern.test(label))?.[1];
}

/** One figure with its picture, legend and words. */
export class Picture {
  constructor(figure) {
    this.figure = figure;
    this.kind = figure.dataset.chart;
    this.title = figure.getAttribute("aria-label");
    this.canvas = figure.querySelector(".curve-canvas");
    this.legend = figure.querySelector("[data-legend]");
    this.words = figure.querySelector("[data-words]");
    this.empty = figure.querySelector("[data-empty]");
    this.height = figure.classList.contains("tall-curve") ? TALL : HEIGHT;
    this.plot = null;
    this.key = "";
    new ResizeObserver(() => this.resize()).observe(this.canvas);
  }

  /** Draw these columns. lines: one per column after the first; they decide whether the old picture can go on. */
  show(columns, lines) {
    const any = columns[0].length > 0 && columns.slice(1).some((column) => column.some((value) => value !== null));
    this.empty.hidden = any;
    this.canvas.hidden = this.legend.hidden = !any;
    if (!any) return;
    const key = lines.map((line) => line.name).join(" ");
    if (this.plot === null || key !== this.key) this.make(columns, lines, key);
    else this.plot.setData(columns, !this.zoomed);
    if (this.zoomed) this.plot.redraw();
    this.describe(this.plot.cursor.idx ?? null);
  }

  make(columns, lines, key) {
    this.plot?.destroy();
    this.lines = lines;
    this.key = key;
    this.zoomed = false;
    this.legend.replaceChildren(...lines.map(chip));
    this.plot = new window.uPlot(this.options(lines), columns, this.canvas);
  }

  options(lines) {
    const bars = this.kind === "trials";
    const own = this.kind === "losses" && lines.length > 1;
    const font = `11px ${getComputedStyle(document.documentElement).getPropertyValue("--font")}`;
    const axis = { stroke: token("muted"), font, grid: { stroke: faded("line", 0.6), width: 1 }, ticks: { show: false } };
    const scales = { x: { time: false, range: bars ? (plot, low, high) => [low - 0.6, high + 0.6] : undefined }, y: { range: rangeOf(this.kind) } };
    if (own) for (const line of lines) scales[line.name] = { range: rangeOf("losses") };
    return {
      width: Math.max(this.canvas.clientWidth, 120), height: this.height, scales, legend: { show: false }, padding: [8, own ? 14 : 0, 0, 14],
      cursor: { y: false, points: { size: 6 }, drag: { x: !bars, y: false }, sync: bars ? undefined : { key: "training" } },
      axes: [
        { ...axis, size: 28, space: 64, values: (plot, ticks) => ticks.map(bars ? (tick) => number(tick, 0) : steps), incrs: bars ? [1, 2, 5, 10, 20, 50, 100, 200, 500] : undefined },
        { ...axis, side: 1, size: 56, show: !own, values: (plot, ticks) => ticks.map((tick) => (this.kind === "actions" ? `${number(tick * 100, 0)}\u202f%` : short(tick))) },
      ],
      series: [{}, ...lines.map((line) => series(line, own ? line.name : "y", window.uPlot))],
      hooks: { setCursor: [(plot) => this.describe(plot.cursor.idx)], setSelect: [(plot) => { this.zoomed = plot.select.width > 0; }] },
    };
  }

  resize() {
    if (this.plot && this.canvas.clientWidth && this.canvas.clientWidth !== this.plot.width) this.plot.setSize({ width: this.canvas.clientWidth, height: this.height });
    if (this.plot && !this.bound) {
      this.bound = true;
      // A double click shows everything again.
      this.canvas.addEventListener("dblclick", () => { this.zoomed = false; });
    }
  }

  // Values under the pointer, else the newest; the same in words for screen readers.
  describe(index) {
    if (!this.plot) return;
    const data = this.plot.data;
    const parts = this.lines.map((line, place) => {
      const column = data[place + 1];
      const at = index ?? lastKnown(column);
      const text = at < 0 ? "–" : this.kind === "actions" && column[at] !== null ? `${number(column[at] * 100, 0)}\u202f%` : short(column[at]);
      this.legend.children[place].querySelector("b").textContent = text;
      return `${line.label} ${text}`;
    });
    if (index !== null) return;
    const last = data[0][data[0].length - 1];
    const where = this.kind === "trials" ? `${data[0].length} trials` : `${number(last, 0)} steps`;
    this.words.textContent = `${this.title}, after ${where}: ${parts.join(", ")}.`;
    this.canvas.setAttribute("aria-label", this.words.textContent);
  }
}

function lastKnown(column) {
  for (let at = column.length - 1; at >= 0; at -= 1) if (column[at] !== null && column[at] !== undefined) return at;
  return -1;
}

function chip(line) {
  const box = document.createElement("span");
  const mark = document.createElement("i");
  mark.className = `${line.tone === "quiet" ? "line" : line.tone}${line.dash?.length ? " dashed" : ""}`;
  const value = document.createElement("b");
  value.className = "num";
  box.append(mark, `${line.label} `, value);
  return box;
}

function series(line, scale, uPlot) {
  const base = { label: line.label, scale, stroke: token(line.tone), width: line.width ?? 1.5, dash: line.dash, spanGaps: true, points: { size: 4 } };
  if (line.bars) return { ...base, width: 0, fill: faded(line.tone, 0.6), paths: uPlot.paths.bars({ size: [0.82, 46], align: 0 }), points: { show: false } };
  if (line.stepped) return { ...base, width: 2, paths: uPlot.paths.stepped({ align: 1 }) };
  return base;
}

// Air above and below; shares go from nothing to all that is needed, bars stand on zero.
function rangeOf(kind) {
  return (plot, low, high) => {
    if (low === null || high === null) return [0, 1];
    if (kind === "actions" || kind === "speed") return [0, Math.max(high * 1.1, 1e-6)];
    const bottom = kind === "trials" ? Math.min(low, 0) : low;
    const top = kind === "trials" ? Math.max(high, 0) : high;
    const air = (top - bottom || Math.abs(top) || 1) * 0.08;
    return [bottom - (bottom < 0 || kind !== "trials" ? air : 0), top + air];
  };
}
