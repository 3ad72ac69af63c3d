// A vertical line in a chart: where the bars begin that the policy has never seen.

/** A lightweight-charts series primitive; `time` is the first unseen bar's, in seconds. */
export class UnseenLine {
  constructor(time, text, color) {
    this.time = time;
    this.text = text;
    this.color = color;
    this.view = { renderer: () => ({ draw: (target) => this.draw(target) }), zOrder: () => "bottom" };
  }

  attached({ chart, series }) {
    this.chart = chart;
    this.series = series;
  }

  paneViews() {
    return [this.view];
  }

  draw(target) {
    const x = this.coordinate();
    if (x === null) return;
    target.useMediaCoordinateSpace(({ context, mediaSize }) => {
      context.save();
      context.strokeStyle = this.color;
      context.fillStyle = this.color;
      context.setLineDash([4, 4]);
      context.beginPath();
      context.moveTo(x, 0);
      context.lineTo(x, mediaSize.height);
      context.stroke();
      context.font = "11px Inter Variable, sans-serif";
      context.textAlign = x > mediaSize.width - 150 ? "right" : "left";
      context.fillText(this.text, x + (context.textAlign === "right" ? -6 : 6), 14);
      context.restore();
    });
  }

  /** Where the first bar at or after the time is; null while none is published. */
  coordinate() {
    const bar = this.series.data().find((row) => row.time >= this.time);
    return bar ? this.chart.timeScale().timeToCoordinate(bar.time) : null;
  }
}
