"""What the columns of a bar file mean: guessed from their names and first values, and checked. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

import numpy as np

from marketdata.csv_rows import BadRow, seconds

PRICES = ("open", "high", "low", "close")
FIELDS = ("time", "clock", *PRICES, "volume", "adj_close", "symbol")
LABELS = {
    "time": "Date or time",
    "clock": "Time of day, if in a column of its own",
    "open": "Open",
    "high": "High",
    "low": "Low",
    "close": "Close",
    "volume": "Volume",
    "adj_close": "Adjusted close",
    "symbol": "Symbol, if the file holds several",
}
_NAMES = {
    "time": ("timestamp", "datetime", "date", "time", "date/time", "gmt time", "local time", "open time", "unix"),
    "open": ("open", "o", "open price"),
    "high": ("high", "h", "high price"),
    "low": ("low", "l", "low price"),
    "close": ("close", "c", "close price", "last", "close/last"),
    "volume": ("volume", "v", "vol", "vol."),
    "adj_close": ("adj_close", "adj close", "adjusted_close", "adjusted close", "adj. close"),
    "symbol": ("symbol", "ticker"),
}
_PRICE_ONLY = ("price", "close", "last")
# Day and month are told apart by looking, never by assuming a country.
_DATE_FORMS = (
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%Y/%m/%d",
    "%d.%m.%Y",
    "%m-%d-%Y",
    "%d-%m-%Y",
    "%Y.%m.%d",
    "%d %b %Y",
    "%b %d, %Y",
    "%b %d %Y",
)
_CLOCK_FORMS = ("", " %H:%M:%S", " %H:%M", " %I:%M %p", " %I:%M:%S %p", " %H%M%S")
_DATES_WITH_CLOCK = ("%Y-%m-%d", "%Y%m%d")
_ENOUGH = 0.9
ZONES = ("UTC", "America/New_York", "America/Chicago", "Europe/London", "Europe/Berlin", "Asia/Tokyo", "Asia/Hong_Kong")


def normal(name: str) -> str:
    """A column's name as it is compared: lower case, without <> and spaces around."""
    return name.strip().strip("<>").strip().lower()


def guess(names: Sequence[str]) -> dict[str, str]:
    """Field -> column, as far as the names say; the names as given, unknown ones left out.

    Two columns for a date and a time of day become "time" and "clock". A file of prices alone (time and price) has
    that price as open, high, low and close.
    """
    by_name = {normal(name): name for name in reversed(names)}
    found = {
        field: next(by_name[known] for known in _NAMES[field] if known in by_name)
        for field in _NAMES
        if any(known in by_name for known in _NAMES[field])
    }
    if {"date", "time"} <= by_name.keys() and not {"timestamp", "datetime"} & by_name.keys():
        found |= {"time": by_name["date"], "clock": by_name["time"]}
    if not {"open", "high", "low"} & found.keys():
        price = next((by_name[known] for known in _PRICE_ONLY if known in by_name), None)
        if price is not None:
            found |= dict.fromkeys(PRICES, price)
    return found


def check(mapping: Mapping[str, str], names: Sequence[str], *, with_adjusted: bool = False) -> None:
    """Raises: ValueError naming the field that has no column, or the column that does not exist."""
    unknown = sorted(set(mapping) - set(FIELDS))
    if unknown:
        raise ValueError(f"unknown field {', '.join(unknown)}; known: {', '.join(FIELDS)}")
    absent = sorted({column for column in mapping.values() if column not in names})
    if absent:
        raise ValueError(f"the file has no column {', '.join(absent)}. Found: {', '.join(names)[:200]}")
    needed = ("time", *PRICES, *(("adj_close",) if with_adjusted else ()))
    missing = [field for field in needed if field not in mapping]
    if missing:
        raise ValueError(
            f"missing columns: {', '.join(missing)}. Found: {', '.join(map(normal, names))[:200]}. Expected a header "
            "with time (or date, timestamp, datetime), open, high, low, "
            f"close{', adj_close' if with_adjusted else ''}; volume is optional"
        )


def time_formats(samples: Sequence[str]) -> list[str | None]:
    """Ways in which the samples can be read: None for ISO 8601 or epoch numbers, else strptime formats.

    One that reads the most of them, and at least nine in ten, so that a broken row does not spoil the guess.
    Empty: none fits. More than one: day and month cannot be told apart, so somebody must say.
    """
    texts = [text.strip() for text in samples if text.strip()]
    if not texts:
        return []
    forms: list[str | None] = [date + clock for date in _DATE_FORMS for clock in _CLOCK_FORMS]
    forms += [date + clock for date in _DATES_WITH_CLOCK for clock in _CLOCK_FORMS if clock]
    counts = {form: sum(_readable(text, form) for text in texts) for form in [None, *forms]}
    most = max(counts.values())
    best = [form for form, count in counts.items() if count == most and count >= _ENOUGH * len(texts)]
    return [None] if None in best else best


def zone_of(samples: Sequence[str], time_format: str | None, calendar: str) -> str:
    """The zone in which most of the times lie inside the calendar's sessions; UTC when nothing speaks for another.

    samples: times of day that name no zone themselves; spread over the file, not its first rows only.
    """
    from marketdata.calendars import outside

    best, fewest = "UTC", 2.0
    for name in ZONES:
        times = [_seconds(text, ZoneInfo(name), time_format) for text in samples]
        known = np.array([time for time in times if time is not None], dtype=np.int64)
        if not known.size or (known % 86_400 == 0).all():
            return "UTC"  # dates alone
        share = float(outside(calendar, np.unique(known), 60).mean())
        if share < fewest - 0.05:  # a little better may be chance
            best, fewest = name, share
    return best


def names_zone(text: str, time_format: str | None) -> bool:
    """Whether a time says its own zone, so that none need be chosen: epoch numbers, Z or an offset; and plain dates."""
    return _seconds(text, UTC, time_format) == _seconds(text, ZoneInfo("Asia/Tokyo"), time_format)


def _readable(text: str, form: str | None) -> bool:
    if form is None:
        return _seconds(text, UTC, None) is not None
    try:
        datetime.strptime(text, form)
    except ValueError:
        return False
    return True


def _seconds(text: str, zone: tzinfo, time_format: str | None) -> int | None:
    try:
        return seconds(text.strip(), zone, time_format)
    except BadRow:
        return None
