// Forms and tables. Every form also works as a plain post; here its panel is replaced instead of the page.

document.addEventListener("submit", (event) => {
  const form = event.target;
  const panel = form.closest("[data-panel]");
  if (!panel || !form.querySelector("input[name=panel]") || form.closest("[data-plain]")) return;
  event.preventDefault();
  for (const button of form.querySelectorAll("button")) button.disabled = true;
  const values = Object.fromEntries(new FormData(form));
  htmx.ajax("POST", form.action, { target: panel, source: panel, swap: "outerHTML", values }).catch(() => form.submit());
});

document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-autosubmit], form[data-autosubmit-get]");
  if (form && event.target.matches("select")) {
    event.target.blur();
    form.requestSubmit();
  }
});

// Toasts go away by themselves, errors do not.
function age(toast) {
  toast.dataset.aged = "1";
  if (!toast.classList.contains("error")) setTimeout(() => toast.remove(), 6000);
}
const toasts = document.getElementById("toasts");
new MutationObserver(() => toasts.querySelectorAll("[data-toast]:not([data-aged])").forEach(age)).observe(toasts, { childList: true });
toasts.querySelectorAll("[data-toast]").forEach(age);
toasts.addEventListener("click", (event) => {
  if (event.target.closest("[data-close-toast]")) event.target.closest("[data-toast]").remove();
});

// A refused or failed request says so where the button was pressed.
document.addEventListener("htmx:responseError", (event) => {
  if (event.detail.requestConfig?.verb !== "post") return;
  const toast = document.createElement("div");
  toast.className = "toast error";
  toast.dataset.toast = "";
  const reasons = { 403: "You may look but not operate; nothing was changed.", 404: "It no longer exists; nothing was changed." };
  toast.textContent = reasons[event.detail.xhr.status] ?? `The server answered ${event.detail.xhr.status}; look at the journal whether it took effect.`;
  toasts.append(toast);
});

// Up and down move through a table's links.
document.addEventListener("keydown", (event) => {
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  const row = document.activeElement?.closest("table[data-rows] tbody tr");
  if (!row) return;
  const next = event.key === "ArrowDown" ? row.nextElementSibling : row.previousElementSibling;
  const link = next?.querySelector("a");
  if (link) {
    event.preventDefault();
    link.focus();
  }
});
