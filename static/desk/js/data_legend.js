// Words around the Data page's chart: values under the crosshair, what is shown of how much, and a text for screen readers.

import { number, percent } from "desk/theme";

const UNITS = [[86400, "day"], [3600, "h"], [60, "min"], [1, "s"]];

/** 60 is "1 min". */
export function spoken(seconds) {
  const [size, unit] = UNITS.find(([length]) => seconds % length === 0);
  const n = seconds / size;
  return `${number(n, 0)} ${unit}${unit === "day" && n > 1 ? "s" : ""}`;
}

/** 1,204,881 is "1.2 million". */
export function roughly(n) {
  return n >= 1e6 ? `${number(n / 1e6, 1)} million` : number(n, 0);
}

export function when(time, seconds) {
  const text = new Date(time * 1000).toISOString();
  return seconds >= 86400 ? text.slice(0, 10) : `${text.slice(0, 10)} ${text.slice(11, seconds < 60 ? 19 : 16)}`;
}

function cell(label, value, tone = "") {
  const span = document.createElement("span");
  if (label) {
    const name = document.createElement("i");
    name.textContent = label;
    span.append(name);
  }
  const text = document.createElement("b");
  text.textContent = value;
  if (tone) text.className = tone;
  span.append(text);
  return span;
}

/** Values of one bar over the chart; index null: the newest one held. */
export function showLegend(box, view, answer, places, index = null) {
  const at = index ?? view.bars.length - 1;
  const row = view.bars[at];
  if (!row) {
    box.replaceChildren();
    return;
  }
  const [time, open, high, low, close, volume] = row;
  const tone = close >= open ? "gain" : "loss";
  const price = (value) => (value === null ? "–" : number(value, places));
  const cells = [cell("", when(time, answer.length)), cell("O", price(open), tone), cell("H", price(high), tone), cell("L", price(low), tone), cell("C", price(close), tone)];
  if (view.volume) cells.push(cell("V", roughly(volume ?? 0)));
  for (const { short, lines, tones, values, own } of view.drawn.values()) {
    const shown = [...lines.keys()].map((line) => [values[line]?.[at] ?? null, tones.get(line)]);
    const text = shown.map(([value]) => (value === null ? "–" : number(value, own ? significant(value) : places))).join(" ");
    cells.push(cell(short, text, `tone-${shown[0]?.[1]}`));
  }
  box.replaceChildren(...cells);
}

const significant = (value) => (Math.abs(value) >= 1000 ? 0 : Math.abs(value) >= 1 ? 2 : 4);

/** Colour, name and a way to remove each indicator. */
export function showChips(box, view, remove) {
  const chips = [...view.drawn].map(([name, { label, short, tones }]) => {
    const chip = document.createElement("button");
    chip.type = "button";
    chip.className = "chip";
    chip.title = `Take ${label} off the chart`;
    const colour = document.createElement("i");
    colour.className = [...tones.values()][0];
    chip.append(colour, short);
    const cross = document.createElement("span");
    cross.textContent = "×";
    cross.setAttribute("aria-hidden", "true");
    const words = document.createElement("span");
    words.className = "visually-hidden";
    words.textContent = ", take off";
    chip.append(words, cross);
    chip.addEventListener("click", () => remove(name));
    return chip;
  });
  box.replaceChildren(...chips);
}

/** How much of what is stored is on the screen. */
export function shownWords(answer, n) {
  const whole = `${roughly(answer.n_all)}${answer.base === answer.interval ? "" : ` of ${spoken(answer.base)}`}`;
  const merged = answer.length === answer.interval ? "" : `, merged to ${spoken(answer.length)} each,`;
  return answer.base === answer.interval
    ? `${number(n, 0)} bars${merged} shown of ${whole}`
    : `${number(n, 0)} bars of ${spoken(answer.length)} shown, made of ${whole}`;
}

/** The chart in words. */
export function chartWords(view, answer, range, places) {
  const seen = view.bars.slice(Math.max(0, Math.floor(range.from)), Math.min(view.bars.length, Math.ceil(range.to) + 1)).filter((row) => row[4] !== null);
  if (!seen.length) return `No bar of ${answer.symbol} lies in the part shown.`;
  const [first, last] = [seen[0], seen[seen.length - 1]];
  const high = Math.max(...seen.map((row) => row[2]));
  const low = Math.min(...seen.map((row) => row[3]));
  const names = [...view.drawn.values()].map((drawn) => drawn.label).join(", ");
  return (
    `${answer.symbol}, bars of ${spoken(answer.length)} from ${when(first[0], answer.length)} to ${when(last[0], answer.length)} UTC: ` +
    `the close went from ${number(first[4], places)} to ${number(last[4], places)}, ${percent(last[4] / first[4] - 1)}, ` +
    `between ${number(low, places)} and ${number(high, places)}.${names ? ` Drawn with it: ${names}.` : ""}`
  );
}
