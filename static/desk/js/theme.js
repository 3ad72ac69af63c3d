// Colours of the style sheet for the charts, which draw on canvas.

const style = getComputedStyle(document.documentElement);

/** A token of tokens.css, such as "gain". */
export function token(name) {
  return style.getPropertyValue(`--${name}`).trim();
}

/** The token's colour with an opacity from 0 to 1. */
export function faded(name, opacity) {
  const hex = token(name);
  const alpha = Math.round(Math.min(1, Math.max(0, opacity)) * 255).toString(16).padStart(2, "0");
  return `${hex.slice(0, 7)}${alpha}`;
}

const MINUS = "−";

/** A number with thousands separators and a true minus. */
export function number(value, places = 2) {
  const text = Math.abs(value).toLocaleString("en-US", { minimumFractionDigits: places, maximumFractionDigits: places });
  return value < 0 && Number(text.replace(/,/g, "")) !== 0 ? `${MINUS}${text}` : text;
}

/** A fraction as a signed percentage: +1.14 %. */
export function percent(fraction, places = 2) {
  const text = number(fraction * 100, places);
  return `${fraction > 0 && Number(text.replace(/,/g, "")) !== 0 ? "+" : ""}${text}\u202f%`;
}

/** Options that every chart shares. */
export function chartOptions(extra = {}) {
  return {
    autoSize: true,
    layout: {
      background: { color: "transparent" }, textColor: token("muted"), fontFamily: style.getPropertyValue("--font"), fontSize: 11,
      attributionLogo: true, panes: { separatorColor: token("line"), enableResize: false },
    },
    grid: { vertLines: { color: faded("line", 0.5) }, horzLines: { color: faded("line", 0.5) } },
    rightPriceScale: { borderColor: token("line"), minimumWidth: 64 },
    timeScale: { borderColor: token("line"), rightOffset: 3, minBarSpacing: 0.4 },
    crosshair: { mode: 0 },
    localization: { locale: "en-GB", dateFormat: "yyyy-MM-dd" },
    ...extra,
  };
}
