// The start form offers what fits and says how long it takes; the server decides both, this only asks again.

const WAIT = 350;
// A change of these changes what the other fields offer; the others change only words and the estimate.
const DECIDING = new Set(["agent", "algorithm", "network", "actions", "sampler", "backend", "test", "queued", "not_before"]);
let timer = null;
let newest = 0;

document.addEventListener("input", (event) => {
  const form = event.target.closest("[data-start-form]");
  if (!form) return;
  clearTimeout(timer);
  timer = setTimeout(() => ask(form, event.target.name), event.target.matches("select, [type=checkbox]") ? 0 : WAIT);
});

async function ask(form, changed) {
  const values = new FormData(form);
  values.delete("csrfmiddlewaretoken");
  // Another agent brings its own settings along.
  if (changed === "agent") for (const name of [...values.keys()]) if (name !== "agent") values.delete(name);
  if (changed === "algorithm") for (const name of ["network", "actions"]) values.delete(name);
  const mine = (newest += 1);
  const answer = await fetch(`${form.dataset.startForm}?${new URLSearchParams(values)}`, { headers: { "HX-Request": "true" } }).catch(() => null);
  if (!answer?.ok || mine !== newest) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.querySelector("[data-start-form]");
  if (!fresh) return;
  if (DECIDING.has(changed)) replaceAll(form, fresh);
  else for (const part of ["[data-start-button]", "[data-start-note]", "[data-work]", "[data-reward-words]"]) form.querySelector(part)?.replaceWith(document.importNode(fresh.querySelector(part), true));
}

function replaceAll(form, fresh) {
  const focused = document.activeElement?.name;
  const open = [...form.querySelectorAll("details.more[open]")].map((part) => part.id);
  const next = document.importNode(fresh, true);
  // The token of this page's own answer stays the one that counts.
  form.replaceWith(next);
  for (const id of open) next.querySelector(`#${CSS.escape(id)}`)?.setAttribute("open", "");
  if (focused) next.querySelector(`[name="${CSS.escape(focused)}"]`)?.focus();
}

// One press, one training.
document.addEventListener("submit", (event) => {
  const form = event.target.closest("[data-start-form]");
  if (form) setTimeout(() => form.querySelectorAll("button").forEach((button) => { button.disabled = true; }), 0);
});
window.addEventListener("pageshow", () => document.querySelectorAll("[data-start-form] button").forEach((button) => { button.disabled = false; }));
