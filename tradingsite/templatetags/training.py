"""How the numbers of trainings and studies look."""

from datetime import UTC, datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html

from agents.training_pages.training_words import parameter_words
from tradingsite.pictures import number
from tradingsite.templatetags.desk import MINUS, UNKNOWN, compact

register = template.Library()


@register.filter
def rough(seconds: Any) -> str:
    """An estimate, with no more digits than are meant: 8 s, 11 min, 2 h 10 min."""
    converted = number(seconds)
    if converted is None or converted < 0:
        return UNKNOWN
    value = float(converted)
    if value < 55:
        return f"{max(round(value), 1)} s"
    minutes = max(round(value / 60), 1)
    if minutes < 60:
        return f"{minutes} min"
    minutes = round(minutes / 10) * 10
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes % 60 else f"{minutes // 60} h"


@register.filter
def clock(value: datetime | None) -> str:
    """When something begins: the time today, else day and time; the exact one on hover."""
    if value is None:
        return UNKNOWN
    value, today = value.astimezone(UTC), timezone.now().astimezone(UTC).date()
    text = value.strftime("%H:%M" if value.date() == today else "%-d %b %H:%M")
    return format_html('<time datetime="{0}" title="{0}">{1}</time>', value.isoformat(), text)


@register.filter
def drawn(name: str) -> str:
    """What a study's parameter is called: learning_rate is "Learning rate"."""
    return parameter_words(name)


@register.filter
def parameter(value: Any) -> str:
    """A value a study has drawn: 3.1e-4, 64 · 64, relu."""
    if isinstance(value, list | tuple):
        return " · ".join(parameter(one) for one in value) or UNKNOWN
    if value is None:
        return UNKNOWN
    converted = None if isinstance(value, str) else number(value)
    if converted is not None and 0 < abs(float(converted)) < 0.01:
        mantissa, _, exponent = f"{float(converted):.1e}".partition("e")
        return f"{mantissa.replace('-', MINUS)}e{MINUS}{abs(int(exponent))}"
    return compact(value)
