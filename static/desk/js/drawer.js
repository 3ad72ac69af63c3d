// The drawer of a decision or a trial: has its own address, traps the focus, closes on Esc and gives the focus back.

const drawer = document.getElementById("drawer");
let opener = null;
let pageBehind = null;

/** Open the decision or trial at `url` over the current page. */
export async function openDrawer(url, from = null, push = true) {
  const answer = await fetch(url, { headers: { "HX-Request": "true" } }).catch(() => null);
  if (!answer?.ok) {
    location.href = url;
    return;
  }
  drawer.innerHTML = await answer.text();
  drawer.setAttribute("aria-label", drawer.querySelector("[data-label]")?.dataset.label ?? "Decision");
  if (drawer.hidden) {
    opener = from ?? document.activeElement;
    pageBehind = location.pathname + location.search;
  }
  drawer.hidden = false;
  if (push) history.pushState({ drawer: url, behind: pageBehind }, "", url);
  drawer.focus();
}

function close() {
  if (drawer.hidden) return;
  hide();
  history.pushState(null, "", pageBehind ?? "/");
}

function hide() {
  drawer.hidden = true;
  drawer.replaceChildren();
  if (opener?.isConnected) opener.focus();
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-drawer]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0) {
    event.preventDefault();
    openDrawer(link.href, link);
    return;
  }
  if (event.target.closest("[data-close-drawer]")) close();
  else if (!drawer.hidden && !drawer.contains(event.target) && !event.target.closest("#chart, [data-parallel], dialog, .bar, .toasts")) close();
});

document.addEventListener("keydown", (event) => {
  if (drawer.hidden || document.querySelector("dialog[open]")) return;
  if (event.key === "Escape") close();
  if (event.key !== "Tab") return;
  const stops = [...drawer.querySelectorAll("a[href], button, summary, [tabindex='0']")].filter((stop) => stop.offsetParent !== null);
  if (!stops.length) return;
  const [first, last] = [stops[0], stops[stops.length - 1]];
  const active = document.activeElement;
  if (event.shiftKey && (active === first || active === drawer)) {
    event.preventDefault();
    last.focus();
  } else if (!event.shiftKey && active === last) {
    event.preventDefault();
    first.focus();
  }
});

window.addEventListener("popstate", (event) => {
  if (event.state?.drawer) openDrawer(event.state.drawer, null, false);
  else if (!drawer.hidden) hide();
});
