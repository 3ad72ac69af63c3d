"""Make sprite.svg from an unpacked lucide-static package: `python make_sprite.py path/to/package/icons`."""

import re
import sys
from pathlib import Path

ICONS = """layout-dashboard bot list-checks arrow-left-right rocket chart-candlestick chart-no-axes-combined
scroll-text octagon-x play pause square x check triangle-alert info chevron-left chevron-right download
message-square-text log-out sun moon palette menu wifi-off clock arrow-up arrow-down rotate-ccw lock
flask-conical brain circle-x settings database chart-line maximize minimize plus search upload trash-2 refresh-cw
newspaper split shield-check history radio skip-forward""".split()


def symbol(folder: Path, name: str) -> str:
    """One icon as a symbol; colour and stroke width come from the page."""
    body = re.sub(r"<!--.*?-->", "", (folder / f"{name}.svg").read_text(), flags=re.DOTALL)
    inner = re.sub(r"^.*?<svg.*?>|</svg>\s*$", "", body.strip(), flags=re.DOTALL)
    return f'<symbol id="{name}" viewBox="0 0 24 24">{" ".join(inner.split())}</symbol>'


def main() -> None:
    """Write the sprite beside this file."""
    folder = Path(sys.argv[1])
    symbols = "\n".join(symbol(folder, name) for name in ICONS)
    comment = "<!-- icons of lucide-static 1.62.0, ISC, see LICENSE -->"
    text = f'<svg xmlns="http://www.w3.org/2000/svg">\n{comment}\n{symbols}\n</svg>\n'
    Path(__file__).with_name("sprite.svg").write_text(text)


if __name__ == "__main__":
    main()
