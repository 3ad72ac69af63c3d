// Panels name the notices they depend on (data-on) and fetch themselves again, each at most twice a second.

const SPACING = 500;
const due = new Map(); // panel id -> { timer, last }

/** Fetch one panel now, or when its turn comes. */
export function refresh(panel) {
  const state = due.get(panel.id) ?? { timer: null, last: 0 };
  due.set(panel.id, state);
  if (state.timer !== null) return;
  state.timer = setTimeout(() => load(panel.id, state), Math.max(0, state.last + SPACING - Date.now()));
}

async function load(id, state) {
  state.last = Date.now();
  const panel = document.getElementById(id);
  // Nothing is swapped under a hand: an open list or a field being filled in stays as it is.
  const busy = panel?.querySelector("select:focus, input:focus:not([type=hidden]), details[open] summary:focus");
  if (panel && !busy) {
    try {
      await htmx.ajax("GET", panel.dataset.url, { target: panel, source: panel, swap: "outerHTML" });
    } catch {
      // The strip already tells that the connection is lost; the next notice tries again.
    }
  }
  state.timer = null;
  if (busy) refresh(panel);
}

document.addEventListener("desk:notice", ({ detail }) => {
  for (const panel of document.querySelectorAll("[data-panel][data-url]")) {
    const kinds = (panel.dataset.on ?? "").split(" ");
    if (detail.kind === "refresh" || kinds.includes(detail.kind)) refresh(panel);
  }
});

// Ages and health have no notice of their own.
setInterval(() => {
  if (document.visibilityState !== "visible") return;
  const now = Date.now();
  for (const panel of document.querySelectorAll("[data-every]")) {
    const last = due.get(panel.id)?.last ?? performance.timeOrigin;
    if (now - last >= Number(panel.dataset.every) * 1000) refresh(panel);
  }
}, 1000);

// The filter of the event feed changes the panel in place.
document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-feed]");
  if (!link) return;
  event.preventDefault();
  const panel = link.closest("[data-panel]");
  panel.dataset.url = `${panel.dataset.url.split("?")[0]}?feed=${link.dataset.feed}`;
  refresh(panel);
});
