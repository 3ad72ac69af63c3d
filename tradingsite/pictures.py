"""Small pictures: meters, bars around zero, lines. SVG, because the content policy allows no style attributes."""

from decimal import Decimal
from math import isfinite
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe


def number(value: Any) -> float | Decimal | None:
    """The value as something to format, or None when there is nothing honest to show."""
    if value is None or value == "" or isinstance(value, bool):
        return None
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    try:
        converted = float(value)
    except (TypeError, ValueError):
        return None
    return converted if isfinite(converted) else None


def meter(value: Any, limit: Any = 1, tone: str = "", label: str = "") -> SafeString:
    """A filled bar: value as a share of limit. SVG, because the content policy allows no style attributes."""
    share = min(1.0, max(0.0, float(number(value) or 0) / (float(number(limit) or 0) or 1.0)))
    return format_html(
        '<svg class="meter {}" role="img" aria-label="{}"><rect width="{}%" height="100%" rx="3"/></svg>',
        tone, label or f"{share * 100:.0f} percent", f"{share * 100:.1f}",
    )  # fmt: skip


def zero_bar(value: Any, largest: Any, tone: str = "") -> SafeString:
    """A bar to the right (positive) or left (negative) of the middle."""
    amount = float(number(value) or 0)
    width = 50 * min(1.0, abs(amount) / (float(number(largest) or 0) or 1.0))
    return format_html(
        '<svg class="axis {}" aria-hidden="true"><rect x="{}%" width="{}%" height="100%" rx="2"/></svg>',
        tone or ("gain" if amount >= 0 else "loss"),
        f"{50 - (width if amount < 0 else 0):.2f}",
        f"{max(width, 0.8):.2f}",
    )  # fmt: skip


def picture(*rows: Any, classes: str = "mind line", label: str = "", height: int = 60) -> SafeString:
    """Small line picture of one or more rows of equal meaning on one scale; classes name their colours."""
    lines = [[float(value) for value in row] for row in rows if row and len(row) > 1]
    if not lines:
        return mark_safe("")
    low, high = min(map(min, lines)), max(map(max, lines))
    span = (high - low) or 1.0
    names = classes.split()
    drawn = format_html_join(
        "",
        '<polyline class="{}" points="{}"/>',
        ((name, _points(line, low, span, height)) for name, line in zip(names, lines, strict=False)),
    )
    return format_html(
        '<svg class="picture" viewBox="0 0 300 {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>',
        height, label or "line picture", drawn,
    )  # fmt: skip


def _points(line: list[float], low: float, span: float, height: int) -> str:
    """Coordinates in a picture 300 wide, two pixels of air above and below."""
    step = 300 / (len(line) - 1)
    return " ".join(f"{step * x:.1f},{height - 2 - (height - 4) * (y - low) / span:.1f}" for x, y in enumerate(line))
