// Parallel lines: one axis per parameter, one line per trial. A range picked on an axis fades every other trial.

import { number, token } from "desk/theme";
import { short } from "desk/training_curves";

const SPACE = "http://www.w3.org/2000/svg";
const TOP = 44;
const BOTTOM = 14;
const SIDE = 64;
const HEIGHT = 340;
const NARROWEST = 118;
const CLICK = 4;

function make(name, attributes = {}, text = "") {
  const node = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.textContent = text;
  return node;
}

/** Where a value lies on its axis: 0 at the foot, 1 at the head, null when it has none. */
export function place(axis, value) {
  if (value === null || value === undefined) return null;
  if (axis.choices) return (axis.choices.indexOf(String(value)) + 0.5) / axis.choices.length;
  if (axis.high === axis.low) return 0.5;
  return axis.log ? Math.log(value / axis.low) / Math.log(axis.high / axis.low) : (value - axis.low) / (axis.high - axis.low);
}

function valueAt(axis, share) {
  if (axis.choices) return axis.choices[Math.min(axis.choices.length - 1, Math.max(0, Math.floor(share * axis.choices.length)))];
  return axis.log ? axis.low * (axis.high / axis.low) ** share : axis.low + share * (axis.high - axis.low);
}

export class Parallel {
  constructor(box, data, say, open) {
    Object.assign(this, { box, say, open, brushes: new Map() });
    this.update(data);
    new ResizeObserver(() => { if (box.clientWidth !== this.seen) this.draw(); }).observe(box);
    box.deskParallel = this;
  }

  update(data) {
    this.data = data;
    const ranked = data.trials.map((trial) => trial.score).sort((one, other) => one - other);
    this.rank = (score) => (ranked.length > 1 ? ranked.indexOf(score) / (ranked.length - 1) : 1);
    this.draw();
  }

  draw() {
    const { axes, trials } = this.data;
    this.seen = this.box.clientWidth;
    this.width = Math.max(this.seen - 4, axes.length * NARROWEST);
    const focused = document.activeElement?.dataset?.axis;
    this.svg = make("svg", { width: this.width, height: HEIGHT, role: "group", "aria-label": `${trials.length} trials over ${axes.length} axes` });
    // The best lies on top.
    this.lines = [...trials].reverse().map((trial) => this.line(trial));
    this.svg.append(...this.lines, ...axes.map((axis, index) => this.axis(axis, index)));
    this.box.replaceChildren(this.svg);
    if (focused !== undefined) this.svg.querySelector(`[data-axis="${focused}"]`)?.focus();
    this.pick();
  }

  x(index) {
    const n = this.data.axes.length;
    return n === 1 ? this.width / 2 : SIDE + (index * (this.width - 2 * SIDE)) / (n - 1);
  }

  y(share) {
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM);
  }

  shareAt(y) {
    return Math.min(1, Math.max(0, (HEIGHT - BOTTOM - y) / (HEIGHT - TOP - BOTTOM)));
  }

  line(trial) {
    const points = trial.values.map((value, index) => [this.x(index), place(this.data.axes[index], value)]).filter(([, share]) => share !== null);
    const path = make("polyline", { points: points.map(([x, share]) => `${x.toFixed(1)},${this.y(share).toFixed(1)}`).join(" "), class: `trial${trial.best ? " best" : ""}`, "data-trial": trial.number });
    const rank = this.rank(trial.score);
    path.setAttribute("stroke", trial.best ? token("gain") : mix(token("quiet"), token("accent"), rank));
    path.setAttribute("stroke-opacity", trial.best ? 1 : 0.25 + 0.65 * rank);
    path.addEventListener("pointerenter", () => { path.classList.add("hot"); this.say(`Trial ${trial.number} scored ${short(trial.score)}${trial.best ? ", the best" : ""}.`); });
    path.addEventListener("pointerleave", () => { path.classList.remove("hot"); this.pick(); });
    path.addEventListener("click", () => this.open(trial.number));
    return path;
  }

  axis(axis, index) {
    const x = this.x(index);
    const group = make("g", { class: "axis-of", tabindex: 0, role: "slider", "aria-orientation": "vertical", "aria-valuemin": 0, "aria-valuemax": 100, "data-axis": index });
    group.setAttribute("aria-label", `${axis.label}: arrow keys pick a range, shift and arrows make it wider, escape takes it away`);
    group.append(make("text", { x, y: 16, class: "name", "text-anchor": "middle" }, axis.label));
    group.append(make("line", { x1: x, x2: x, y1: this.y(1), y2: this.y(0) }));
    for (const [share, text] of ticks(axis)) group.append(make("text", { x: x + 7, y: this.y(share) + 4, class: "tick" }, text));
    group.append(make("rect", { class: "brush", x: x - 8, width: 16, y: this.y(1), height: 0, rx: 3 }));
    const catcher = make("rect", { class: "catcher", x: x - 16, width: 32, y: TOP - 10, height: HEIGHT - TOP - BOTTOM + 20 });
    catcher.addEventListener("pointerdown", (event) => this.drag(event, index, catcher));
    group.append(catcher);
    group.addEventListener("keydown", (event) => this.key(event, index));
    return group;
  }

  drag(event, index, catcher) {
    event.preventDefault();
    const top = this.svg.getBoundingClientRect().top;
    const from = event.clientY - top;
    catcher.setPointerCapture(event.pointerId);
    const move = ({ clientY }) => {
      const [low, high] = [this.shareAt(from), this.shareAt(clientY - top)].sort((one, other) => one - other);
      this.brushes.set(index, [low, high]);
      this.pick();
    };
    const end = ({ clientY }) => {
      if (Math.abs(clientY - top - from) < CLICK) this.brushes.delete(index);
      catcher.removeEventListener("pointermove", move);
      this.pick();
    };
    catcher.addEventListener("pointermove", move);
    catcher.addEventListener("pointerup", end, { once: true });
    catcher.addEventListener("pointercancel", end, { once: true });
  }

  key(event, index) {
    const direction = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (event.key === "Escape" || event.key === "Delete") this.brushes.delete(index);
    else if (!direction) return;
    else {
      const [low, high] = this.brushes.get(index) ?? (direction > 0 ? [-0.05, 0.2] : [0.8, 1.05]);
      const wide = event.shiftKey ? direction * 0.05 : 0;
      const size = Math.min(1, Math.max(0.05, high - low + wide));
      const foot = Math.min(1 - size, Math.max(0, event.shiftKey ? low - wide / 2 : low + direction * 0.05));
      this.brushes.set(index, [foot, foot + size]);
    }
    event.preventDefault();
    this.pick();
  }

  clear() {
    this.brushes.clear();
    this.pick();
  }

  /** Fade what is not picked, here and in the table, and say what is. */
  pick() {
    const { axes, trials } = this.data;
    const passes = (trial) => [...this.brushes].every(([index, [low, high]]) => {
      const share = place(axes[index], trial.values[index]);
      return share !== null && share >= low - 1e-9 && share <= high + 1e-9;
    });
    const picked = trials.filter(passes);
    const numbers = new Set(picked.map((trial) => String(trial.number)));
    for (const line of this.lines) line.classList.toggle("off", !numbers.has(line.dataset.trial));
    axes.forEach((axis, index) => this.mark(axis, index));
    for (const row of document.querySelectorAll("#table tr[data-trial]")) row.classList.toggle("dim", this.brushes.size > 0 && !numbers.has(row.dataset.trial));
    this.picked = picked;
    this.say(this.words(picked));
  }

  mark(axis, index) {
    const [low, high] = this.brushes.get(index) ?? [0, 0];
    const group = this.svg.querySelector(`[data-axis="${index}"]`);
    const brush = group.querySelector(".brush");
    brush.setAttribute("y", this.y(high));
    brush.setAttribute("height", Math.max(0, this.y(low) - this.y(high)));
    group.setAttribute("aria-valuenow", Math.round(((low + high) / 2) * 100));
    group.setAttribute("aria-valuetext", this.brushes.has(index) ? this.range(index) : "everything");
  }

  range(index) {
    const axis = this.data.axes[index];
    const [low, high] = this.brushes.get(index).map((share) => valueAt(axis, share));
    if (!axis.choices) return `${axis.label} ${short(low)} to ${short(high)}`;
    const inside = axis.choices.filter((choice) => { const share = place(axis, choice); const [from, to] = this.brushes.get(index); return share >= from && share <= to; });
    return `${axis.label} ${inside.join(", ") || "none"}`;
  }

  words(picked) {
    const all = this.data.trials.length;
    if (!this.brushes.size) return `${number(all, 0)} trials with a score.`;
    const ranges = [...this.brushes.keys()].map((index) => this.range(index)).join("; ");
    const best = picked.length ? `, the best scored ${short(Math.max(...picked.map((trial) => trial.score)))}` : "";
    return `${picked.length} of ${all} trials${best}: ${ranges}.`;
  }
}

function ticks(axis) {
  if (axis.choices) return axis.choices.map((choice) => [place(axis, choice), choice.length > 12 ? `${choice.slice(0, 11)}…` : choice]);
  return [0, 0.5, 1].map((share) => [share, short(valueAt(axis, share))]);
}

function mix(from, to, share) {
  const parts = (hex) => [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
  const [one, other] = [parts(from), parts(to)];
  return `#${one.map((value, place) => Math.round(value + (other[place] - value) * share).toString(16).padStart(2, "0")).join("")}`;
}
