// Which bars the chart holds: what is on the screen and about a screen on each side, never more than fits.

const WAIT = 90; // after the last movement
const LONGEST_WAIT = 250; // while somebody keeps moving
const SPACING = 50; // between two looks for new bars
const THINNEST = 0.55; // pixels of a bar; the chart itself goes no lower than 0.4

export class BarWindow {
  /** view: a DataChart; url: of the bars; question: () => parameters that do not depend on the view. */
  constructor(view, url, question, answer) {
    Object.assign(this, { view, url, question, answer, listeners: [], number: 0, busy: null, timer: null, applying: false });
    this.scale = view.chart.timeScale();
    this.upTo = null; // the end asked for; null: whatever is newest
    this.take(answer);
    this.showNewest();
    this.watchPointers(view.chart.chartElement());
    this.scale.subscribeVisibleLogicalRangeChange(() => this.applying || this.moved());
  }

  /** `released` is settled while no finger or button is down on the chart. */
  watchPointers(element) {
    this.released = Promise.resolve();
    const down = new Set();
    let settle = null;
    element.addEventListener("pointerdown", ({ pointerId }) => {
      if (!down.size) this.released = new Promise((resolve) => { settle = resolve; });
      down.add(pointerId);
    }, true);
    const up = ({ pointerId }) => {
      if (down.delete(pointerId) && !down.size) setTimeout(settle);
    };
    for (const kind of ["pointerup", "pointercancel"]) window.addEventListener(kind, up, true);
  }

  onChange(listener) {
    this.listeners.push(listener);
  }

  changed(trouble = "") {
    for (const listener of this.listeners) listener(trouble);
  }

  take(answer) {
    this.answer = answer;
    this.applying = true;
    this.view.set(answer);
    this.applying = false;
  }

  get bars() {
    return this.view.bars;
  }

  get atNewest() {
    return this.upTo === null;
  }

  /** Bars from time a to time b, at most `points`; a null end means the first or the last bar. */
  async fetch(from, to, extra = {}) {
    const number = ++this.number;
    this.busy?.abort();
    const busy = new AbortController();
    this.busy = busy;
    const parameters = new URLSearchParams({ ...this.question(), points: String(this.points), ...extra });
    if (from !== null) parameters.set("from", String(Math.floor(from)));
    if (to !== null) parameters.set("to", String(Math.ceil(to)));
    try {
      const reply = await fetch(`${this.url}?${parameters}`, { signal: busy.signal });
      const answer = await reply.json();
      if (number !== this.number) return null; // somebody has moved on
      if (!reply.ok) throw new Error(answer.error);
      return answer;
    } catch (error) {
      if (error.name !== "AbortError") this.changed(error.message || "The bars could not be fetched.");
      return null;
    } finally {
      if (this.busy === busy) this.busy = null;
    }
  }

  get points() {
    return Math.min(2000, Math.max(500, Math.round(this.view.chart.chartElement().clientWidth * 2)));
  }

  /** Seconds from one bar to the next on average, nights and weekends included. */
  get step() {
    const bars = this.bars;
    return bars.length > 1 ? (bars[bars.length - 1][0] - bars[0][0]) / (bars.length - 1) : this.answer.length;
  }

  timeAt(logical) {
    const bars = this.bars;
    const last = bars.length - 1;
    if (last < 0) return 0;
    if (logical <= 0) return bars[0][0] + logical * this.step;
    if (logical >= last) return bars[last][0] + (logical - last) * this.step;
    const index = Math.floor(logical);
    return bars[index][0] + (logical - index) * (bars[index + 1][0] - bars[index][0]);
  }

  logicalAt(time) {
    const bars = this.bars;
    const last = bars.length - 1;
    if (last < 0) return 0;
    if (time <= bars[0][0]) return (time - bars[0][0]) / this.step;
    if (time >= bars[last][0]) return last + (time - bars[last][0]) / this.step;
    const index = this.indexAt(time);
    return index + (time - bars[index][0]) / (bars[index + 1][0] - bars[index][0]);
  }

  /** The last bar that begins at or before the time; -1 if there is none. */
  indexAt(time) {
    let [low, high] = [0, this.bars.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.bars[middle][0] <= time) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  moved() {
    this.changed();
    if (!this.wants()) return;
    clearTimeout(this.timer);
    this.since ??= Date.now();
    this.timer = setTimeout(() => this.load(), Math.max(0, Math.min(WAIT, this.since + LONGEST_WAIT - Date.now())));
  }

  /** While the newest bar is in sight the wheel zooms away from it, elsewhere around the pointer. */
  pin(range) {
    const pinned = this.atNewest && range !== null && range.to >= this.bars.length - 1;
    if (pinned !== this.pinned) this.scale.applyOptions({ rightBarStaysOnScroll: pinned });
    this.pinned = pinned;
  }

  /** What the view lacks: bars on the left or right, finer or coarser ones, or nothing. */
  wants() {
    const range = this.scale.getVisibleLogicalRange();
    const n = this.bars.length;
    this.pin(range);
    if (!range || !n) return "";
    const width = range.to - range.from;
    const more = this.bars[0][0] > this.answer.first || (this.upTo !== null && this.upTo < this.answer.last);
    if (more && this.scale.options().barSpacing < THINNEST) return "coarser";
    if (range.from < width * 0.25 && this.bars[0][0] > this.answer.first) return "left";
    if (range.to > n - 1 - width * 0.25 && this.upTo !== null && this.upTo < this.answer.last) return "right";
    return this.answer.length > this.answer.interval && width < this.widthLoaded * 0.55 ? "finer" : "";
  }

  async load() {
    this.since = null;
    const want = this.wants();
    if (!want) return;
    const range = this.scale.getVisibleLogicalRange();
    const [start, end] = [this.timeAt(range.from), this.timeAt(range.to)];
    const atEnd = end >= this.answer.last;
    const margin = Math.min(2000, Math.max(100, Math.ceil(range.to - range.from)));
    const number = this.number + 1;
    const answer = await this.fetch(start, atEnd ? null : end, { margin, length: this.answer.length });
    if (!answer?.bars.length) return;
    // The chart scrolls a drag from where it began, so under a pressed finger nothing is exchanged.
    await this.released;
    if (this.number !== number) return;
    this.upTo = atEnd || answer.upTo >= answer.last ? null : answer.upTo;
    this.replace(answer);
    this.moved();
  }

  /** Exchange the bars and keep the view where it is in time, to the pixel when their length is the same. */
  replace(answer) {
    const range = this.scale.getVisibleLogicalRange();
    const same = answer.length === this.answer.length;
    const anchor = Math.min(Math.max(Math.round(range.from), 0), this.bars.length - 1);
    const time = this.bars[anchor][0];
    const times = [this.timeAt(range.from), this.timeAt(range.to)];
    this.take(answer);
    const now = this.indexAt(time);
    const shift = same && now >= 0 && this.bars[now][0] === time ? now - anchor : null;
    this.look(shift === null ? this.logicalAt(times[0]) : range.from + shift, shift === null ? this.logicalAt(times[1]) : range.to + shift);
  }

  look(from, to) {
    this.applying = true;
    this.scale.setVisibleLogicalRange({ from, to });
    this.applying = false;
    this.widthLoaded = to - from;
    this.changed();
  }

  get nAtFirst() {
    return Math.round(Math.min(190, Math.max(60, this.view.chart.chartElement().clientWidth / 5.5)));
  }

  showNewest() {
    const n = this.bars.length;
    this.look(Math.max(-1, n - this.nAtFirst), n + 3);
  }

  /** The newest bars, anew: after another interval or indicators were chosen. */
  async newest() {
    const answer = await this.fetch(null, null);
    if (!answer) return false;
    this.upTo = null;
    this.take(answer);
    this.showNewest();
    return true;
  }

  /** Everything that is stored, in as few bars as fit. */
  async everything() {
    const answer = await this.fetch(this.answer.first, null, { points: "2000" });
    if (!answer) return;
    this.upTo = null;
    this.take(answer);
    this.look(-1, this.bars.length + 1);
  }

  /** The same view with other parameters: indicators, mostly. */
  async again() {
    const bars = this.bars;
    if (!bars.length) return this.newest();
    const answer = await this.fetch(bars[0][0], this.upTo);
    if (answer?.bars.length) this.replace(answer);
    return Boolean(answer);
  }

  /** Bars of `seconds` around a time; the newest ones if there are none. */
  async around(time, seconds) {
    const side = 250 * seconds * (seconds < 86400 ? 5 : 1.5);
    const answer = await this.fetch(time - side, time + side);
    if (!answer) return false;
    if (!answer.bars.length || time > answer.last || time < answer.first) return this.newest();
    this.upTo = time + side >= answer.last ? null : time + side;
    this.take(answer);
    const middle = this.logicalAt(time);
    this.look(middle - this.nAtFirst / 2, middle + this.nAtFirst / 2);
    return true;
  }

  /** Look for bars newer than the last one, at most every SPACING milliseconds. */
  refresh() {
    if (this.waiting || document.visibilityState !== "visible") return;
    this.waiting = setTimeout(async () => {
      this.lastLook = Date.now();
      await this.patch();
      this.waiting = null;
    }, Math.max(0, (this.lastLook ?? 0) + SPACING - Date.now()));
  }

  async patch() {
    if (this.busy || this.timer === -1) return;
    if (!this.bars.length) {
      await this.newest();
      return;
    }
    const since = this.bars[Math.max(0, this.bars.length - 2)][0];
    const answer = await this.fetch(this.atNewest ? since : Math.max(since, this.answer.last), null, { points: "2000" });
    if (!answer) return;
    const { quote, last, n_all } = answer;
    if (!this.atNewest) Object.assign(this.answer, { quote, last, n_all });
    else if (answer.length !== this.answer.length || this.bars.length > 6000) await this.again();
    else {
      Object.assign(this.answer, { quote, last, n_all });
      this.applying = true;
      this.view.patch(answer);
      this.applying = false;
    }
    this.changed();
  }
}
