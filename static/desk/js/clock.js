// The UTC clock of the bar. The element is replaced with its panel, so it is looked up every time.

function tick() {
  const clock = document.querySelector("[data-clock]");
  if (clock) clock.textContent = `${new Date().toISOString().slice(11, 19)} UTC`;
}

setInterval(tick, 1000);
tick();
