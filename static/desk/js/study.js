// The Study page: the parallel picture, kept fresh while the study goes on.

import { openDrawer } from "desk/drawer";
import { Parallel } from "desk/study_parallel";

const SPACING = 5000;
const box = document.querySelector("[data-parallel]");
const words = document.querySelector("[data-parallel-words]");
const clear = document.querySelector("[data-clear-brushes]");
let timer = null;

if (box) {
  const picture = new Parallel(box, numbers(document), say, (number) => openDrawer(`${location.pathname}${number}/`, box));
  clear.addEventListener("click", () => picture.clear());
  // The table's rows come anew after every sorting and every notice.
  document.addEventListener("htmx:afterSwap", () => picture.pick());
}

function numbers(page) {
  return JSON.parse(page.getElementById("parallel-data").textContent);
}

function say(text) {
  words.textContent = text;
  clear.disabled = !box.deskParallel?.brushes.size;
}

document.addEventListener("desk:notice", ({ detail }) => {
  const live = document.querySelector("[data-curves][data-live]");
  if ((detail.kind !== "training" && detail.kind !== "refresh") || timer !== null || !live) return;
  timer = setTimeout(refresh, SPACING);
});

async function refresh() {
  timer = null;
  const answer = await fetch(location.pathname).catch(() => null);
  if (!answer?.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const selector of [".stats", "#importance"]) {
    const [old, fresh] = [document.querySelector(selector), page.querySelector(selector)];
    if (old && fresh) old.replaceWith(document.importNode(fresh, true));
  }
  if (box?.deskParallel && page.getElementById("parallel-data")) box.deskParallel.update(numbers(page));
}
