// Dialogs: a link with data-dialog opens the dialog of that id; without JavaScript it goes to the page of the same form.

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-dialog]");
  if (opener) {
    const dialog = document.getElementById(opener.dataset.dialog);
    if (dialog) {
      event.preventDefault();
      dialog.showModal();
      dialog.querySelector("input:not([type=hidden])")?.focus();
    }
    return;
  }
  const closer = event.target.closest("[data-close-dialog]");
  if (closer) closer.closest("dialog").close();
});

// The stop button's words and its dialog follow the kill switch, which another person may have used.
document.addEventListener("desk:notice", async ({ detail }) => {
  if (detail.kind !== "kill_switch" && detail.kind !== "refresh") return;
  const dialog = document.getElementById("stop-dialog");
  if (dialog.open) return;
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } }).catch(() => null);
  if (!answer?.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const selector of ["#stop-dialog", ".bar .btn.kill"]) {
    const fresh = page.querySelector(selector);
    if (fresh) document.querySelector(selector).replaceWith(document.importNode(fresh, true));
  }
});
