// What the Data page draws: candles, volume and indicators. Knows nothing of where bars come from.

import { CandlestickSeries, HistogramSeries, LineSeries, LineStyle, createChart, createTextWatermark } from "lightweight-charts";
import { chartOptions, faded, token } from "desk/theme";

const PALETTE = ["accent", "warn", "mind", "muted"];
const PLAIN = { priceLineVisible: false, lastValueVisible: false, crosshairMarkerVisible: false };

export class DataChart {
  /** element: where to draw; places: decimals of a price; hasVolume: whether the instrument has one. */
  constructor(element, { places, hasVolume }) {
    const size = { width: element.clientWidth, height: element.clientHeight };
    this.chart = createChart(element, chartOptions({ ...size, handleScroll: { vertTouchDrag: false }, kineticScroll: { touch: false } }));
    this.format = { type: "price", precision: places, minMove: 10 ** -places };
    this.drawn = new Map(); // indicator -> { label, short, own, lines: Map(line -> series), tones, values }
    this.bars = [];
    const [up, down] = [token("gain"), token("loss")];
    if (hasVolume) {
      this.volume = this.chart.addSeries(HistogramSeries, { ...PLAIN, priceScaleId: "volume", priceFormat: { type: "volume" } });
      this.volume.priceScale().applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
    }
    this.price = this.chart.addSeries(CandlestickSeries, {
      upColor: up, wickUpColor: up, downColor: down, wickDownColor: down, borderVisible: false, priceFormat: this.format,
    });
    this.price.priceScale().applyOptions({ scaleMargins: { top: 0.12, bottom: hasVolume ? 0.22 : 0.08 } });
    this.chart.panes()[0].setStretchFactor(100);
  }

  /** Draw an answer of the server from scratch. The caller restores the view. */
  set(data) {
    this.bars = data.bars;
    this.chart.timeScale().applyOptions({ timeVisible: data.length < 86400, secondsVisible: data.length < 60 });
    this.price.setData(this.bars.map(candle));
    this.volume?.setData(this.bars.map(volumeBar));
    this.keepOnly(data.lines);
    for (const [name, entry] of Object.entries(data.lines)) {
      const drawn = this.drawn.get(name) ?? this.add(name, entry);
      for (const [line, series] of drawn.lines) series.setData(points(this.bars, entry.values[line]));
      drawn.values = entry.values;
    }
  }

  /** Take over newer bars of the same length; returns how many were new. */
  patch(data) {
    const last = this.bars.length ? this.bars[this.bars.length - 1][0] : -Infinity;
    let added = 0;
    data.bars.forEach((row, index) => {
      if (row[0] < last) return;
      if (row[0] === last) this.bars[this.bars.length - 1] = row;
      else {
        this.bars.push(row);
        added += 1;
      }
      const at = this.bars.length - 1;
      this.price.update(candle(row));
      this.volume?.update(volumeBar(row));
      for (const [name, drawn] of this.drawn) {
        for (const [line, series] of drawn.lines) {
          const value = data.lines[name]?.values[line]?.[index] ?? null;
          drawn.values[line][at] = value;
          series.update(value === null ? { time: row[0] } : { time: row[0], value });
        }
      }
    });
    return added;
  }

  add(name, { label, pane, values }) {
    const own = pane === "own" ? this.chart.addPane() : null;
    own?.setStretchFactor(26);
    const names = Object.keys(values);
    const drawn = { label, short: names.length === 1 ? names[0] : label, own, lines: new Map(), tones: new Map(), values };
    const place = own ? 0 : [...this.drawn.values()].filter((other) => !other.own).length;
    names.forEach((line, index) => {
      const number = own ? index : place;
      const tone = PALETTE[number % PALETTE.length];
      const bars = own !== null && /hist/i.test(line);
      const options = { ...PLAIN, color: bars ? faded("muted", 0.5) : token(tone), lineWidth: own || index ? 1 : 2 };
      if (number >= PALETTE.length || (!own && index)) options.lineStyle = LineStyle.Dashed;
      if (!own) options.priceFormat = this.format;
      const kind = bars ? HistogramSeries : LineSeries;
      drawn.lines.set(line, this.chart.addSeries(kind, options, own ? own.paneIndex() : 0));
      drawn.tones.set(line, bars ? "muted" : tone);
    });
    if (own) createTextWatermark(own, { horzAlign: "left", vertAlign: "top", lines: [{ text: drawn.short, color: token("muted"), fontSize: 11, lineHeight: 18 }] });
    this.drawn.set(name, drawn);
    return drawn;
  }

  keepOnly(lines) {
    for (const [name, drawn] of this.drawn) {
      if (name in lines && Object.keys(lines[name].values).join() === [...drawn.lines.keys()].join()) continue;
      for (const series of drawn.lines.values()) this.chart.removeSeries(series);
      if (drawn.own && this.chart.panes().includes(drawn.own)) this.chart.removePane(drawn.own.paneIndex());
      this.drawn.delete(name);
    }
  }

  /** Panes drawn below the price. */
  get nPanes() {
    return [...this.drawn.values()].filter((drawn) => drawn.own).length;
  }
}

const candle = ([time, open, high, low, close]) => (close === null ? { time } : { time, open, high, low, close });
const volumeBar = ([time, open, , , close, volume]) => ({ time, value: volume ?? 0, color: faded(close >= open ? "gain" : "loss", 0.32) });
const points = (bars, values) => bars.map(([time], index) => (values[index] === null ? { time } : { time, value: values[index] }));
