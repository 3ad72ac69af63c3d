// The search box of the instruments: filters what is stored at once, asks a source only when told to.

const form = document.querySelector("[data-finder]");
if (form) begin(form);

function begin(finder) {
  const input = finder.querySelector("input[type=search]");
  const found = document.querySelector("[data-found]");
  const filter = () => {
    const text = input.value.trim().toLowerCase();
    const rows = [...document.querySelectorAll("#panel-data-instruments tr[data-search]")];
    for (const row of rows) row.classList.toggle("hidden", !row.dataset.search.includes(text));
    document.querySelector("[data-no-match]")?.classList.toggle("hidden", !text || rows.some((row) => !row.classList.contains("hidden")));
    finder.querySelector("[data-ask]").classList.toggle("hidden", !text);
    if (!text) found.replaceChildren();
  };
  input.addEventListener("input", filter);
  document.addEventListener("htmx:afterSettle", filter);
  finder.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!input.value.trim()) return;
    const button = finder.querySelector("button[type=submit]");
    const words = button.textContent;
    button.disabled = true;
    button.textContent = "Searching …";
    const address = `${finder.getAttribute("action")}?${new URLSearchParams(new FormData(finder))}`;
    const answer = await fetch(address, { headers: { "HX-Request": "true" } }).catch(() => null);
    found.innerHTML = answer?.ok ? await answer.text() : '<p class="small warn pad" role="status">The search could not be done. Try again.</p>';
    button.disabled = false;
    button.textContent = words;
  });
  filter();
}
