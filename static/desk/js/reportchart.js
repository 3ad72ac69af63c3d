// The picture of a backtest: equity of the policy and of buying and holding, and how far below its peak the policy was.

import { AreaSeries, LineSeries, PriceScaleMode, createChart } from "lightweight-charts";
import { chartOptions, faded, token } from "desk/theme";

const box = document.getElementById("report-chart");
if (box) draw(box, JSON.parse(document.getElementById("report-data").textContent));

function draw(element, data) {
  const chart = createChart(element.firstElementChild, chartOptions({ width: element.clientWidth, height: element.clientHeight }));
  const rows = (values, scale = 1) => data.time.map((time, index) => ({ time, value: values[index] * scale }));
  const plain = { priceLineVisible: false, priceFormat: { type: "price", precision: 0, minMove: 1 } };
  if (data.baseline.length) chart.addSeries(LineSeries, { ...plain, color: token("quiet"), lineWidth: 1 }).setData(rows(data.baseline));
  const policy = chart.addSeries(LineSeries, { ...plain, color: token("mind"), lineWidth: 2 });
  policy.setData(rows(data.equity));
  const below = chart.addSeries(AreaSeries, {
    ...plain, lineColor: token("loss"), lineWidth: 1, topColor: faded("loss", 0.02), bottomColor: faded("loss", 0.3), invertFilledArea: true,
    priceFormat: { type: "custom", minMove: 0.1, formatter: (value) => `${value.toFixed(0).replace("-", "−")}\u202f%` },
  }, 1);
  below.setData(rows(data.drawdown, 100));
  chart.panes()[0].setStretchFactor(75);
  chart.panes()[1].setStretchFactor(25);
  chart.timeScale().fitContent();
  chart.timeScale().subscribeSizeChange(() => chart.timeScale().fitContent());
  element.deskChart = chart;
  for (const button of document.querySelectorAll("[data-scale]")) button.addEventListener("click", () => scale(button, policy));
}

function scale(button, series) {
  const mode = button.dataset.scale === "log" ? PriceScaleMode.Logarithmic : PriceScaleMode.Normal;
  series.priceScale().applyOptions({ mode });
  for (const other of document.querySelectorAll("[data-scale]")) {
    other.classList.toggle("on", other === button);
    other.setAttribute("aria-pressed", String(other === button));
  }
}
