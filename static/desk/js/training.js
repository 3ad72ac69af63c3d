// The Training, run and study pages: fetches a run's curves and patches them whenever a notice says they have grown.

import { linesOf, Picture } from "desk/training_curves";

const SPACING = 500;
// Beyond that many points the server's thinned curve is fetched again.
const MOST = 1500;

class Curves {
  constructor(box) {
    this.box = box;
    this.url = box.dataset.curves;
    this.run = box.dataset.run;
    this.pictures = [...box.querySelectorAll("figure[data-chart]")].map((figure) => new Picture(figure));
    this.select = box.querySelector("[data-part]");
    this.state = null;
    this.timer = null;
    this.last = 0;
    this.select?.addEventListener("change", () => {
      this.state = null;
      this.ask();
    });
    box.deskCurves = this;
    this.ask();
  }

  /** Fetch what is new, at most twice a second. */
  ask() {
    if (this.timer !== null || document.visibilityState !== "visible") return;
    this.timer = setTimeout(async () => {
      this.last = Date.now();
      await this.load().catch(() => {}); // the strip tells that the connection is lost; the next notice tries again
      this.timer = null;
    }, Math.max(0, this.last + SPACING - Date.now()));
  }

  async load() {
    const query = new URLSearchParams({ part: this.select?.value ?? "" });
    if (this.state && this.state.steps.length < MOST) {
      query.set("since", this.state.last);
      query.set("shown", this.state.part);
    }
    const answer = await fetch(`${this.url}?${query}`);
    if (!answer.ok || !this.box.isConnected) return;
    const found = await answer.json();
    if (found.whole) this.state = found;
    else if (!this.append(found)) {
      this.state = null;
      await this.load();
      return;
    }
    this.state.trials = found.trials;
    this.state.parts = found.parts;
    this.draw();
  }

  // Whether the new points could be put behind the old ones: not after a restart from a checkpoint, nor with new names.
  append(found) {
    const state = this.state;
    const names = Object.keys(found.values);
    if (names.some((name) => !(name in state.values))) return false;
    const end = state.steps.length - 1;
    if (found.steps.length && found.steps[0] < state.steps[end]) return false;
    state.last = found.last;
    // The newest step may have got a score meanwhile.
    if (found.steps.length && found.steps[0] === state.steps[end]) {
      found.steps.shift();
      for (const name of names) {
        const value = found.values[name].shift();
        if (value !== null) state.values[name][end] = value;
      }
    }
    for (const [name, column] of Object.entries(state.values)) column.push(...(found.values[name] ?? found.steps.map(() => null)));
    state.steps.push(...found.steps);
    state.n += found.steps.length;
    return true;
  }

  draw() {
    const { steps, values, labels, trials, counted } = this.state;
    const names = Object.keys(values);
    for (const picture of this.pictures) {
      if (picture.kind === "trials") picture.show(...trialColumns(trials));
      else if (picture.kind === "return") picture.show(...this.returns(linesOf("return", names, labels)));
      else {
        const lines = linesOf(picture.kind, names, labels, counted);
        picture.show([steps, ...lines.map((line) => values[line.name])], lines);
      }
    }
    this.fillParts();
    const words = this.box.querySelector("[data-part-words]");
    if (words) words.textContent = this.select.value ? "" : this.state.words;
    const thinned = this.box.querySelector("[data-thinned]");
    if (thinned) thinned.textContent = this.state.n > this.state.most ? `${this.state.n.toLocaleString("en-US")} points, thinned; every extreme is kept` : "";
    for (const link of this.box.querySelectorAll("[data-csv]")) link.search = `?part=${encodeURIComponent(this.state.part)}`;
  }

  // The best trial so far is drawn behind the one that learns; both on the steps of either.
  returns(lines) {
    const { steps, values, other } = this.state;
    if (!lines.length) return [[[]], []];
    lines[0].label = "this one";
    const mine = values.episode_return;
    if (!other) return [[steps, mine], lines];
    const behind = { name: `other ${other.words}`, label: other.words, tone: "quiet", width: 1 };
    const joined = window.uPlot.join([[other.steps, other.values], [steps, mine]]);
    return [joined, [behind, lines[0]]];
  }

  fillParts() {
    if (!this.select || document.activeElement === this.select) return;
    const known = new Set([...this.select.options].map((option) => option.value));
    for (const [name, words] of this.state.parts) {
      if (!known.has(name)) this.select.add(new Option(words, name), known.size === 1 ? undefined : 1);
    }
  }
}

function trialColumns(trials) {
  const lines = [
    { name: "score", label: "score", tone: "accent", bars: true },
    { name: "best", label: "best so far", tone: "gain", stepped: true },
  ];
  return [[trials.map((row) => row[0]), trials.map((row) => row[1]), trials.map((row) => row[2])], lines];
}

function start(root) {
  for (const box of root.querySelectorAll("[data-curves]")) if (!box.deskCurves) new Curves(box);
}

const everyCurve = () => [...document.querySelectorAll("[data-curves]")].map((box) => box.deskCurves).filter(Boolean);

document.addEventListener("desk:notice", ({ detail }) => {
  if (detail.kind !== "training" && detail.kind !== "refresh") return;
  for (const curves of everyCurve()) if (detail.kind === "refresh" || !detail.run || String(detail.run) === curves.run || String(detail.training) === curves.run) curves.ask();
});
// A tab that was hidden catches up in one step.
document.addEventListener("visibilitychange", () => everyCurve().forEach((curves) => curves.ask()));

// A run that has waited begins: its page gets its curves.
document.addEventListener("htmx:afterSwap", () => {
  const head = document.querySelector("[data-run-card] .run-head");
  if (head && head.dataset.state !== "waiting" && !document.querySelector("[data-curves]")) location.reload();
});

// When another run begins to work, its card takes the place of the one that has ended.
document.addEventListener("htmx:afterSwap", () => {
  const queue = document.getElementById("training-queue");
  const column = document.getElementById("training-runs");
  if (!queue || !column) return;
  const active = (queue.dataset.active ?? "").split(" ").filter(Boolean);
  const shown = new Set([...column.querySelectorAll(".run-head")].map((head) => head.id.replace("training-head-", "")));
  if (active.every((run) => shown.has(run)) || column.dataset.loading) return;
  column.dataset.loading = "1";
  htmx.ajax("GET", location.pathname, { target: column, source: column, select: "#training-runs", swap: "outerHTML" }).then(() => start(document));
});

start(document);
