"""How numbers, times and icons look on every page, and small pictures. A builtin: no {% load %} needed."""

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django import template
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe

from tradingsite import pictures
from tradingsite.pictures import number

register = template.Library()

MINUS, THIN, UNKNOWN = "−", "\u202f", "–"
# Number with optional sign, separators, and a unit after a thin space.
# The 14 of "RSI 14" and the 50 of "50-day" are names, not findings.
NUMBER = re.compile(
    rf"(?<![\w.])(?<!RSI )(?<!EMA )[+{MINUS}-]?\d[\d,]*(?:\.\d+)?(?:[{THIN}\u00a0 ]?[%×])?(?![\w])(?!-[a-z])"
)
MODULES = (
    "clock", "controls", "dashboard", "data", "data_dialog", "data_finder", "data_legend", "data_window", "datachart",
    "dialog", "drawer", "panels", "reportchart", "socket", "study", "study_parallel", "theme",
    "tradechart", "training", "training_curves", "training_form", "unseen",
)  # fmt: skip


def _format(value: Any, places: int, sign: bool = False, unit: str = "") -> str:
    converted = number(value)
    if converted is None:
        return UNKNOWN
    text = f"{abs(converted):,.{places}f}"
    is_zero = not text.strip("0.,")
    prefix = "" if is_zero else MINUS if converted < 0 else "+" if sign else ""
    return f"{prefix}{text}{THIN + unit if unit else ''}"


@register.filter
def money(value: Any, places: int = 2) -> str:
    """104,318.22"""
    return _format(value, places)


@register.filter
def signed(value: Any, places: int = 2) -> str:
    """+612.40, −8.26"""
    return _format(value, places, sign=True)


@register.filter
def percent(fraction: Any, places: int = 1) -> str:
    """A fraction as percent: 0.018 is 1.8 %."""
    converted = number(fraction)
    return _format(None if converted is None else float(converted) * 100, places, unit="%")


@register.filter
def signed_percent(fraction: Any, places: int = 1) -> str:
    """A return as percent with its sign: +4.3 %."""
    converted = number(fraction)
    return _format(None if converted is None else float(converted) * 100, places, sign=True, unit="%")


@register.filter
def below(fraction: Any, places: int = 1) -> str:
    """A drawdown, stored positive, as the loss it is: 0.018 is −1.8 %."""
    converted = number(fraction)
    return percent(None if converted is None else -converted, places)


@register.filter
def times(value: Any, places: int = 2) -> str:
    """0.86 ×"""
    return _format(value, places, unit="×")


@register.filter
def quantity(value: Any) -> str:
    """A number of units without trailing zeros: 96, 0.25."""
    converted = number(value)
    if converted is None:
        return UNKNOWN
    text = f"{abs(converted):,.6f}".rstrip("0").rstrip(".")
    return f"{MINUS if converted < 0 and text != '0' else ''}{text}"


@register.filter
def signed_quantity(value: Any) -> str:
    """+37, −12"""
    text = quantity(value)
    converted = number(value)
    return f"+{text}" if converted is not None and converted > 0 else text


@register.filter
def price(value: Any, instrument: Any = None) -> str:
    """A price with as many decimals as the instrument's tick size has."""
    places = 2
    tick = getattr(instrument, "tick_size", None)
    if tick:
        exponent = Decimal(tick).normalize().as_tuple().exponent
        places = max(0, -exponent) if isinstance(exponent, int) else 2
    return _format(value, places)


@register.filter
def compact(value: Any) -> str:
    """A parameter of any size in few digits: 0.00031, 64, 12.5."""
    converted = number(value)
    if converted is None:
        return "yes" if value is True else "no" if value is False else str(value)
    text = f"{abs(float(converted)):.3g}"
    if "e" in text and abs(float(converted)) >= 1:
        text = f"{abs(float(converted)):,.0f}"
    return f"{MINUS if converted < 0 else ''}{text}"


@register.filter
def tone(value: Any) -> str:
    """The class of a result: gain, loss or none."""
    converted = number(value)
    return "" if not converted else "gain" if converted > 0 else "loss"


@register.filter
def word(value: Any) -> str:
    """A code in words: kill_switch.engaged is "kill switch engaged"."""
    return str(value).replace("_", " ").replace(".", " ")


@register.filter
def done(label: Any) -> str:
    """What was decided, as done: hold is "held"."""
    return {"hold": "held", "buy": "bought", "sell": "sold"}.get(str(label), "decided differently")


@register.filter
def duration(seconds: Any) -> str:
    """4 min 12 s"""
    converted = number(seconds)
    if converted is None or converted < 0:
        return UNKNOWN
    whole = round(float(converted))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def moment_text(value: Any) -> str:
    """A market time: the date for a daily bar, with hours and minutes otherwise."""
    if value is None or value == "":
        return UNKNOWN
    if isinstance(value, int | float):
        value = datetime.fromtimestamp(value, UTC)
    if not isinstance(value, datetime):
        return str(value)[:16].replace("T00:00", "").replace("T", " ")
    value = value.astimezone(UTC)
    midnight = (value.hour, value.minute, value.second) == (0, 0, 0)
    return value.strftime("%Y-%m-%d" if midnight else "%Y-%m-%d %H:%M")


@register.filter
def moment(value: Any) -> str:
    """A market time, with the exact one on hover."""
    if not isinstance(value, datetime):
        return moment_text(value)
    return format_html('<time datetime="{0}" title="{0}">{1}</time>', value.isoformat(), moment_text(value))


@register.filter
def ago(value: datetime | None) -> str:
    """Relative for the last hour, the UTC time before that; the exact one on hover."""
    if value is None:
        return UNKNOWN
    seconds = (timezone.now() - value).total_seconds()
    if seconds < 5:
        text = "now"
    elif seconds < 60:
        text = f"{int(seconds)} s ago"
    elif seconds < 3600:
        text = f"{int(seconds // 60)} min ago"
    else:
        text = value.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
    return format_html('<time datetime="{0}" title="{0}">{1}</time>', value.isoformat(), text)


@register.filter
def epoch(value: datetime) -> int:
    """Seconds since 1970, as in deep links to decisions."""
    return int(value.timestamp())


@register.filter
def short(value: Any) -> str:
    """A hash as 9c41…e07."""
    text = str(value)
    return f"{text[:6]}…{text[-4:]}" if len(text) > 12 else text


@register.filter
def item(mapping: Any, key: str) -> Any:
    """mapping[key], or nothing."""
    return mapping.get(key) if hasattr(mapping, "get") else None


@register.filter
def pretty(value: Any) -> str:
    """JSON as a person reads it."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


@register.filter
def emphasise(sentence: Any) -> SafeString:
    """The sentence with its numbers in bold; everything else is escaped."""
    parts, last, text = [], 0, str(sentence)
    for match in NUMBER.finditer(text):
        parts += [conditional_escape(text[last : match.start()]), format_html("<b>{}</b>", match.group())]
        last = match.end()
    return mark_safe("".join([*parts, conditional_escape(text[last:])]))


@register.simple_tag
def icon(name: str, label: str = "") -> SafeString:
    """An icon of the sprite; with a label it speaks, without one it is decoration."""
    sprite = static("vendor/lucide/sprite.svg")
    if label:
        return format_html('<svg class="i" role="img" aria-label="{}"><use href="{}#{}"/></svg>', label, sprite, name)
    return format_html('<svg class="i" aria-hidden="true"><use href="{}#{}"/></svg>', sprite, name)


register.simple_tag(pictures.meter)
register.simple_tag(pictures.zero_bar)
register.simple_tag(pictures.picture)


@register.simple_tag
def import_map() -> SafeString:
    """Names of the ES modules and their hashed addresses, so that every file can be cached for ever."""
    imports = {f"desk/{name}": static(f"desk/js/{name}.js") for name in MODULES}
    imports["lightweight-charts"] = static("vendor/lightweight-charts/lightweight-charts.standalone.production.mjs")
    return mark_safe(json.dumps({"imports": imports}).replace("<", "\\u003c"))


@register.simple_tag(takes_context=True)
def query(context: template.Context, **changes: Any) -> str:
    """The current query string with changes; None removes a key."""
    parameters = context["request"].GET.copy()
    for key, value in changes.items():
        parameters.pop(key, None)
        if value is not None:
            parameters[key] = str(value)
    return f"?{parameters.urlencode()}"
