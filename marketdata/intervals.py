"""Lengths of bars as people write them: 1s, 5m, 1h, 1d. One parser for pages and commands."""

from __future__ import annotations

import re

DAY = 86_400
COMMON = (1, 5, 60, 300, 900, 3600, DAY)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": DAY}
_PATTERN = re.compile(r"([1-9][0-9]{0,4})([smhd])")


def parse(text: str) -> int:
    """Seconds of an interval such as "1s", "5m", "1h" or "1d".

    Raises: ValueError for anything else, and for bars longer than a day.
    """
    found = _PATTERN.fullmatch(text.strip().lower())
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 1 <= seconds <= DAY:
        known = ", ".join(words(common) for common in COMMON)
        raise ValueError(f"{text!r} is not an interval: give a number and s, m, h or d, at most 1d, such as {known}")
    return seconds


def words(seconds: int) -> str:
    """The shortest way to write an interval, such as "5m"; parse() reads it back."""
    unit = next(unit for unit in reversed(_UNITS) if seconds % _UNITS[unit] == 0)
    return f"{seconds // _UNITS[unit]}{unit}"
