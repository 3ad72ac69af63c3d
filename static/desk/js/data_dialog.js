// One dialog for every form of the Data and Training pages. Without scripts the same addresses are pages.

import { refresh } from "desk/panels";

const dialog = document.getElementById("data-dialog");
const HEADERS = { "HX-Request": "true" };
const LARGEST = 200 * 1024 * 1024;
let opener = null;

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-load-dialog]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  if (!dialog.open) opener = link.id || link;
  open(link.href);
});

async function open(url) {
  const answer = await fetch(url, { headers: HEADERS }).catch(() => null);
  if (!answer?.ok) {
    location.href = url;
    return;
  }
  fill(await answer.text());
  if (!dialog.open) dialog.showModal();
  dialog.querySelector("input:not([type=hidden]):not([type=file]), select, button.primary, button.danger")?.focus();
}

function fill(html) {
  dialog.innerHTML = html;
  dialog.setAttribute("aria-label", dialog.querySelector("h2")?.textContent ?? "Data");
  dialog.classList.toggle("wide", Boolean(dialog.querySelector("[data-wide]")));
  showFitting();
}

// Fields that make no sense for the chosen kind are not shown.
function showFitting() {
  const kind = dialog.querySelector("select[name=source]")?.value;
  for (const field of dialog.querySelectorAll("[data-when]")) field.classList.toggle("hidden", !field.dataset.when.split(" ").includes(kind));
}

dialog?.addEventListener("change", (event) => {
  if (event.target.name === "source") showFitting();
  if (event.target.type === "file") fileChosen(event.target);
  if (event.target.matches(".columns select")) dialog.querySelector("button[formaction]").click(); // look again at once
});

function fileChosen(input) {
  const file = input.files[0];
  const large = file && file.size > LARGEST;
  const words = dialog.querySelector("[data-file-name]");
  words.textContent = !file ? "Choose a file or drop it here" : `${file.name}, ${(file.size / 1e6).toFixed(1)} MB${large ? ": too large, at most 200 MB" : ""}`;
  words.classList.toggle("loss", Boolean(large));
  dialog.querySelector("button[type=submit]").disabled = Boolean(large);
}

dialog?.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.matches("[data-dialog-form]")) return;
  event.preventDefault();
  const body = new FormData(form, event.submitter);
  const address = event.submitter?.getAttribute("formaction") ?? form.action;
  const buttons = [...form.querySelectorAll("button[type=submit]:not([disabled])")];
  for (const button of buttons) button.disabled = true;
  event.submitter?.classList.add("busy");
  const answer = await fetch(address, { method: "POST", body, headers: HEADERS }).catch(() => null);
  const go = answer?.headers.get("Desk-Go");
  if (go) {
    location.href = go;
    return;
  }
  if (answer?.headers.get("Desk-Done")) finish(await answer.text());
  else if (answer && (answer.ok || answer.status === 422)) fill(await answer.text());
  else refuse(form, buttons, answer?.status);
});

function finish(toasts) {
  document.getElementById("toasts").insertAdjacentHTML("beforeend", toasts);
  dialog.close();
  for (const panel of document.querySelectorAll("main [data-panel][data-url]")) refresh(panel);
}

function refuse(form, buttons, status) {
  const words = { 403: "You may look but not operate; nothing was changed.", 404: "It no longer exists; nothing was changed.", 413: "The file is too large; nothing was stored." };
  const line = form.querySelector("[data-refused]") ?? document.createElement("p");
  line.dataset.refused = "";
  line.className = "loss small";
  line.setAttribute("role", "alert");
  line.textContent = words[status] ?? (status ? `The server answered ${status}; nothing can be said about what it did. The journal knows.` : "The server does not answer. Try again in a moment.");
  form.querySelector(".buttons").before(line);
  for (const button of buttons) {
    button.disabled = false;
    button.classList.remove("busy");
  }
}

// The button that opened it may have been replaced with its card meanwhile.
dialog?.addEventListener("close", () => {
  const back = typeof opener === "string" ? document.getElementById(opener) : opener;
  if (back?.isConnected) back.focus();
  dialog.replaceChildren();
});
