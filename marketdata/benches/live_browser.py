"""Chromium looking at one chart, for the bench `live`: notes when how much volume was drawn."""

import json
import shutil
import sys
from pathlib import Path

# Wraps what the page itself asks for; a drawing counts once the frame after its data has begun.
NOTE = """
(() => {
  const volumes = new Map();
  window.drawn = [];
  const ask = window.fetch;
  window.fetch = async (...question) => {
    const answer = await ask(...question);
    if (String(question[0]).includes("/bars")) {
      const json = answer.json.bind(answer);
      answer.json = async () => {
        const content = await json();
        for (const bar of content.bars ?? []) volumes.set(bar[0], bar[5]);
        const total = [...volumes.values()].reduce((sum, volume) => sum + volume, 0);
        requestAnimationFrame(() => requestAnimationFrame(() => window.drawn.push([Date.now() / 1000, total])));
        return content;
      };
    }
    return answer;
  };
})();
"""


def main(address: str, cookie: str, out: str) -> None:
    """Open the page, say "ready", and at the first line of input write what was seen."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    flags = [
        "--no-sandbox",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-gpu",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        origin = "/".join(address.split("/")[:3])  # a cookie of the page's own address would not hold for the socket
        context.add_cookies([{"name": "sessionid", "value": cookie, "url": origin}])
        page = context.new_page()
        page.add_init_script(NOTE)
        page.goto(address)
        page.wait_for_selector("#data-chart canvas")
        page.wait_for_timeout(1000)
        print("ready", flush=True)  # noqa: T201 - the bench waits for it
        sys.stdin.readline()
        Path(out).write_text(json.dumps(page.evaluate("window.drawn")))
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
