// The live chart: price, decision lane and equity in stacked panes on one time axis. New bars patch the series.

import { CandlestickSeries, HistogramSeries, LineSeries, createChart, createSeriesMarkers } from "lightweight-charts";
import { chartOptions, faded, number, token } from "desk/theme";
import { UnseenLine } from "desk/unseen";

const LANE = 1;
const BARS_AT_FIRST = 150;

export class TradeChart {
  /** element: where to draw; data: answer of /api/chart/. */
  constructor(element, data) {
    this.data = data;
    const size = { width: element.clientWidth, height: element.clientHeight };
    this.chart = createChart(element, chartOptions({ ...size, handleScroll: { vertTouchDrag: false } }));
    this.addSeries();
    this.bars = data.bars;
    this.marks = data.marks;
    this.lane = data.lane;
    this.setAll();
    this.showLatest();
    // A resize keeps the width of a bar, not the range: until somebody zooms or pans, show the latest bars again.
    this.touched = false;
    for (const kind of ["pointerdown", "wheel", "touchstart"]) {
      element.addEventListener(kind, () => { this.touched = true; }, { passive: true });
    }
    this.chart.timeScale().subscribeSizeChange(() => this.touched || this.showLatest());
  }

  addSeries() {
    const plain = { priceLineVisible: false, lastValueVisible: false, crosshairMarkerVisible: false };
    const priceFormat = { type: "price", precision: this.data.places, minMove: 10 ** -this.data.places };
    if (this.data.has_volume) {
      this.volume = this.chart.addSeries(HistogramSeries, { ...plain, priceScaleId: "volume", priceFormat: { type: "volume" } });
      this.volume.priceScale().applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
    }
    const [up, down] = [token("gain"), token("loss")];
    this.price = this.chart.addSeries(CandlestickSeries, { upColor: up, wickUpColor: up, downColor: down, wickDownColor: down, borderVisible: false, priceFormat });
    this.price.priceScale().applyOptions({ scaleMargins: { top: 0.1, bottom: this.data.has_volume ? 0.22 : 0.08 } });
    this.ema10 = this.chart.addSeries(LineSeries, { ...plain, color: token("accent"), lineWidth: 2, priceFormat });
    this.ema50 = this.chart.addSeries(LineSeries, { ...plain, color: token("warn"), lineWidth: 2, priceFormat });
    this.markers = createSeriesMarkers(this.price, []);
    if (this.data.unseen) this.price.attachPrimitive(new UnseenLine(this.data.unseen, "never seen in training", token("mind")));
    this.laneSeries = this.chart.addSeries(HistogramSeries, { ...plain, priceFormat: { type: "custom", minMove: 1, formatter: () => "" } }, LANE);
    this.laneSeries.priceScale().applyOptions({ scaleMargins: { top: 0.05, bottom: 0.05 }, ticksVisible: false });
    this.baseline = this.chart.addSeries(LineSeries, { ...plain, color: token("quiet"), lineWidth: 1, priceFormat: { type: "price", precision: 0, minMove: 1 } }, LANE + 1);
    this.equity = this.chart.addSeries(LineSeries, { priceLineVisible: false, color: token("mind"), lineWidth: 2, priceFormat: { type: "price", precision: 0, minMove: 1 } }, LANE + 1);
    const panes = this.chart.panes();
    panes[0].setStretchFactor(100);
    panes[LANE].setStretchFactor(9);
    panes[LANE + 1].setStretchFactor(30);
  }

  setAll() {
    const data = this.data;
    this.price.setData(this.bars.map(candle));
    this.volume?.setData(this.bars.map(volumeBar));
    this.ema10.setData(data.ema10.map(point));
    this.ema50.setData(data.ema50.map(point));
    this.laneSeries.setData(this.lane.map(laneBar));
    this.equity.setData(data.equity.map(point));
    this.baseline.setData(data.equity.filter((row) => row[2] !== null).map(([time, , value]) => ({ time, value })));
    this.setMarkers();
  }

  showLatest() {
    const n = this.bars.length;
    this.chart.timeScale().setVisibleLogicalRange({ from: Math.max(-1, n - BARS_AT_FIRST), to: n + 3 });
  }

  setMarkers() {
    this.markers.setMarkers(this.marks.map((mark) => marker(mark)));
  }

  /** Time of the newest bar, 0 without bars. */
  get last() {
    return this.bars.length ? this.bars[this.bars.length - 1][0] : 0;
  }

  /** Take over an answer to ?since=: every series gets its new points, nothing is drawn anew. */
  patch(data) {
    for (const row of data.bars) {
      if (row[0] < this.last) continue;
      if (row[0] === this.last) this.bars[this.bars.length - 1] = row;
      else this.bars.push(row);
      this.price.update(candle(row));
      this.volume?.update(volumeBar(row));
    }
    update(this.ema10, data.ema10.map(point));
    update(this.ema50, data.ema50.map(point));
    update(this.laneSeries, data.lane.map(laneBar));
    update(this.equity, data.equity.map(point));
    update(this.baseline, data.equity.filter((row) => row[2] !== null).map(([time, , value]) => ({ time, value })));
    this.lane = merge(this.lane, data.lane, (row) => row[0]);
    const known = this.marks.length;
    this.marks = merge(this.marks, data.marks, (mark) => mark.id);
    if (this.marks.length !== known) this.setMarkers();
  }

  /** Put older bars (an answer to ?before=) in front and keep the view where it is. */
  prepend(data) {
    const older = data.bars.filter((row) => !this.bars.length || row[0] < this.bars[0][0]);
    if (!older.length) return 0;
    const range = this.chart.timeScale().getVisibleLogicalRange();
    const first = this.bars[0]?.[0] ?? Infinity;
    this.bars = [...older, ...this.bars];
    this.lane = merge(data.lane, this.lane, (row) => row[0]);
    this.marks = merge(data.marks, this.marks, (mark) => mark.id);
    const before = (rows) => rows.filter((row) => row[0] < first);
    this.price.setData(this.bars.map(candle));
    this.volume?.setData(this.bars.map(volumeBar));
    this.ema10.setData([...before(data.ema10).map(point), ...this.ema10.data()]);
    this.ema50.setData([...before(data.ema50).map(point), ...this.ema50.data()]);
    this.laneSeries.setData(this.lane.map(laneBar));
    this.equity.setData([...before(data.equity).map(point), ...this.equity.data()]);
    this.setMarkers();
    this.chart.timeScale().setVisibleLogicalRange({ from: range.from + older.length, to: range.to + older.length });
    return older.length;
  }

  /** Decision time under a click: of the mark's order, or of the bar in the decision lane. */
  decisionAt(event) {
    const mark = this.marks.find((row) => `mark-${row.id}` === event.hoveredObjectId);
    if (mark) return mark.decision;
    if (event.time === undefined) return null;
    if (event.paneIndex === LANE) return this.lane.find((row) => row[0] === event.time)?.[0] ?? null;
    return this.marks.find((row) => row.time === event.time)?.decision ?? null;
  }

  /** What the chart shows, in words. */
  words() {
    const { symbol, unseen, places } = this.data;
    if (!this.bars.length) return `No bar of ${symbol} has been published yet.`;
    const day = (time) => new Date(time * 1000).toISOString().slice(0, 10);
    const n = this.bars.filter((row) => unseen && row[0] >= unseen).length;
    const bought = this.marks.filter((mark) => mark.quantity > 0).length;
    return `${symbol} up to ${day(this.last)}: ${n} bars never seen in training are published, last close ${number(this.bars.at(-1)[4], places)}; the agent bought ${bought} times and sold ${this.marks.length - bought} times.`;
  }
}

const candle = ([time, open, high, low, close]) => ({ time, open, high, low, close });
const volumeBar = ([time, open, , , close, volume]) => ({ time, value: volume, color: faded(close >= open ? "gain" : "loss", 0.32) });
const point = ([time, value]) => ({ time, value });

function laneBar([time, label, confidence]) {
  const color = label === "buy" ? faded("gain", 0.25 + 0.75 * confidence) : label === "sell" ? faded("loss", 0.25 + 0.75 * confidence) : token("hold");
  return { time, value: 1, color };
}

function marker({ id, time, quantity }) {
  const buy = quantity > 0;
  const amount = number(Math.abs(quantity), Number.isInteger(quantity) ? 0 : 2);
  return {
    id: `mark-${id}`, time, position: buy ? "belowBar" : "aboveBar", shape: buy ? "arrowUp" : "arrowDown",
    color: token(buy ? "gain" : "loss"), text: `${buy ? "buy" : "sell"} ${amount}`,
  };
}

function update(series, points) {
  const data = series.data();
  const last = data.length ? data[data.length - 1].time : -Infinity;
  for (const row of points) if (row.time >= last) series.update(row);
}

function merge(first, second, key) {
  const rows = new Map(first.map((row) => [key(row), row]));
  for (const row of second) rows.set(key(row), row);
  return [...rows.values()];
}
