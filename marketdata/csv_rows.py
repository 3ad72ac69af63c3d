"""One line of a bar file: its time, its numbers, and in plain words what is wrong with it. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo

# How many make a second, by the digits of an epoch number of our times.
_EPOCH_UNITS = {digits: 1000 ** ((digits - 9) // 3) for digits in range(9, 20)}
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_PRICES = ("open", "high", "low", "close")
MOST = 1e18  # sums of larger numbers would end in infinity
_YEAR_1800, _YEAR_2200 = -5_364_662_400, 7_258_118_400  # what charts and calendars can show; a year 9999 is a mistake


class BadRow(ValueError):
    """This row cannot be used; the message says why. The other rows of the file can."""


@dataclass(frozen=True)
class RowReader:
    """Turns the texts of one line into (time, open, high, low, close, volume, adj_close)."""

    positions: Mapping[str, int]  # column -> place in the line; always time and the four prices
    n_fields: int  # fields every line must have
    zone: tzinfo = UTC  # of times that name no zone
    time_format: str | None = None  # strptime format; None reads ISO 8601 and epoch seconds

    def read(self, texts: list[str]) -> tuple[int, int, float, float, float, float, float, float]:
        """Read one line. Volume is 0 and adj_close NaN when the file has no such column.

        Returns: time in seconds since 1970 UTC, how far its own zone is ahead of UTC, then six floats.
        Raises: BadRow with the first thing that is wrong.
        """
        if len(texts) != self.n_fields:
            raise BadRow(f"{len(texts)} fields, expected {self.n_fields} as in the header")
        time, ahead = zoned(self._time_text(texts), self.zone, self.time_format)
        open_, high, low, close = (self._positive(name, texts) for name in _PRICES)
        if high < low:
            raise BadRow(f"high {high:g} is below low {low:g}")
        for name, value in (("open", open_), ("close", close)):
            if not low <= value <= high:
                raise BadRow(f"{name} {value:g} is outside low {low:g} to high {high:g}")
        volume = self._number("volume", texts) if "volume" in self.positions else 0.0
        if volume < 0:
            raise BadRow(f"volume is {volume:g}: it cannot be negative")
        adjusted = self._positive("adj_close", texts) if "adj_close" in self.positions else math.nan
        return time, ahead, open_, high, low, close, volume, adjusted

    def _time_text(self, texts: list[str]) -> str:
        """The time, put together where the file keeps date and time of day apart."""
        text = texts[self.positions["time"]].strip()
        return f"{text} {texts[self.positions['clock']].strip()}" if "clock" in self.positions else text

    def _positive(self, name: str, texts: list[str]) -> float:
        value = self._number(name, texts)
        if value <= 0:
            raise BadRow(f"{name} is {value:g}: a price must be above 0")
        return value

    def _number(self, name: str, texts: list[str]) -> float:
        text = texts[self.positions[name]].strip()
        if not text:
            raise BadRow(f"{name} is empty")
        try:
            # Python would read 1_000 as a thousand; Nasdaq's own downloads write $ before prices.
            value = math.nan if "_" in text else float(text.removeprefix("$"))
        except ValueError:
            raise BadRow(f"{name} is not a number: {_short(text)}") from None
        if not math.isfinite(value):
            raise BadRow(f"{name} is not a number: {_short(text)}")
        if abs(value) > MOST:
            raise BadRow(f"{name} is {value:g}: larger than {MOST:g} is garbage")
        return value


def seconds(text: str, zone: tzinfo = UTC, time_format: str | None = None) -> int:
    """Seconds since 1970 UTC of a date or time.

    Without a format: ISO 8601 (2013-02-28, 20130228, 2013-02-28 14:30, ...Z, ...-05:00), epoch seconds (9 to 11
    digits), milli- (12 to 14), micro- (15 to 17) or nanoseconds (18 or 19). A date alone is 00:00 UTC whatever the
    zone: it labels a session. Forms such as 1/4/1999 are refused because they can mean two days: name the format.
    Raises: BadRow.
    """
    return zoned(text, zone, time_format)[0]


def zoned(text: str, zone: tzinfo = UTC, time_format: str | None = None) -> tuple[int, int]:
    """As seconds, and how many seconds the clocks of the time's zone are ahead of UTC; 0 where it has none."""
    if not text:
        raise BadRow("time is empty")
    if time_format is None and text.isascii() and text.isdigit() and 9 <= len(text) <= 19:
        whole, rest = divmod(int(text), _EPOCH_UNITS[len(text)])
        return _whole(whole + 0.5 if rest else whole, text), 0
    moment = _read_time(text, time_format)
    if not isinstance(moment, datetime):
        return _whole((moment.toordinal() - _EPOCH_DAY) * 86_400, text), 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
        # On the two days a year when clocks change, an hour happens twice or not at all.
        if moment.utcoffset() != moment.replace(fold=1).utcoffset():
            raise BadRow(f"time {_short(text)} happens twice or not at all in {zone}: give its UTC offset")
    offset = moment.utcoffset()
    return _whole(moment.timestamp(), text), int(offset.total_seconds()) if offset else 0


def _read_time(text: str, time_format: str | None) -> date:
    """A datetime, or a plain date when the text holds no time of day."""
    try:
        if time_format is not None:
            moment = datetime.strptime(text, time_format)
            has_clock = any(code in time_format for code in ("%H", "%I", "%X", "%c"))
            return moment if has_clock else moment.date()
        try:
            return date.fromisoformat(text)
        except ValueError:
            return datetime.fromisoformat(text)
    except ValueError:
        expected = f"the format {time_format}" if time_format else "such as 2013-02-28 or 2013-02-28T14:30:00Z"
        raise BadRow(f"time cannot be read: {_short(text)}, expected {expected}") from None


def _whole(value: float, text: str) -> int:
    if value != int(value):
        raise BadRow(f"time {_short(text)} has a fraction of a second: a bar starts on a whole second")
    if not _YEAR_1800 <= value < _YEAR_2200:
        raise BadRow(f"time {_short(text)} is not in the years 1800 to 2199")
    return int(value)


def _short(text: str) -> str:
    """The text as it arrived, cut to what fits a message."""
    return repr(text if len(text) <= 40 else text[:37] + "...")
