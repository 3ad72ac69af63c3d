"""Moments of tick files as whole microseconds. Pure.

Read are ISO 8601 texts (with or without a zone), whole epoch numbers (9 to 11 digits are seconds, 12 to 14 milli-,
15 to 17 micro-, 18 and 19 nanoseconds) and epoch seconds with a fraction. What is finer than a microsecond is cut off.
"""

from __future__ import annotations

from datetime import tzinfo

import numpy as np
import pandas as pd

NO_TIME = np.int64(-(2**63))  # what cannot be read
_SECONDS = r"\d{9,11}(?:\.\d+)?"
_WHOLE = r"\d{12,19}"
# Only what names a day: pandas would also read "now", a year alone, and offsets it then treats in other ways.
_DAY = r"(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{8})"
_CLOCK = r"\d{1,2}(?::?\d{2}){0,2}(?:[.,]\d+)?"
_PLAIN = rf"{_DAY}(?:[ T]{_CLOCK})?"
_ZONED = rf"{_DAY}[ T]{_CLOCK} ?(?:Z|[+-]\d{{2}}(?::?\d{{2}})?)"


def read_times(column: pd.Series, zone: tzinfo) -> np.ndarray:
    """Microseconds since 1970 UTC of each value, NO_TIME for what cannot be read; int64, shape (T,).

    zone: of moments that name none; one that happens twice or not at all there cannot be read.
    """
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return _microseconds(column.dt.tz_convert("UTC"))
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return _microseconds(_localized(column, zone))
    if pd.api.types.is_float_dtype(column.dtype):
        return _epoch_seconds(column.map("{:.6f}".format))
    return _texts(column.astype("str").str.strip(), zone)


def _texts(texts: pd.Series, zone: tzinfo) -> np.ndarray:
    answer = np.full(texts.size, NO_TIME)
    seconds, whole = (texts.str.fullmatch(form).to_numpy(dtype=bool) for form in (_SECONDS, _WHOLE))
    answer[seconds] = _epoch_seconds(texts[seconds])
    answer[whole] = [_epoch_whole(text) for text in texts[whole]]
    words = texts.str.upper()
    zoned, plain = (words.str.fullmatch(form).to_numpy(dtype=bool) & ~seconds & ~whole for form in (_ZONED, _PLAIN))
    if zoned.any():
        answer[zoned] = _microseconds(pd.to_datetime(words[zoned], format="ISO8601", errors="coerce", utc=True))
    if plain.any():
        answer[plain] = _microseconds(_localized(pd.to_datetime(words[plain], format="ISO8601", errors="coerce"), zone))
    return answer


def _localized(moments: pd.Series, zone: tzinfo) -> pd.Series:
    return moments.dt.tz_localize(zone, ambiguous="NaT", nonexistent="NaT").dt.tz_convert("UTC")


def _microseconds(moments: pd.Series) -> np.ndarray:
    """NaT is the lowest int64, which is NO_TIME."""
    return moments.dt.tz_localize(None).to_numpy(dtype="datetime64[us]").astype(np.int64)


def _epoch_seconds(texts: pd.Series) -> np.ndarray:
    """Digits, not floats: a float of today's seconds is too coarse for some microseconds."""
    parts = texts.str.extract(r"^(\d{1,11})(?:\.(\d+))?$")
    whole = pd.to_numeric(parts[0], errors="coerce")
    fraction = parts[1].fillna("").str.slice(0, 6).str.pad(6, side="right", fillchar="0").astype(np.int64)
    known = whole.notna().to_numpy()
    answer = np.full(texts.size, NO_TIME)
    answer[known] = whole[known].astype(np.int64) * 1_000_000 + fraction[known]
    return answer


def _epoch_whole(text: str) -> int:
    digits = len(text)
    if digits <= 14:
        return int(text) * 1_000
    return int(text) if digits <= 17 else int(text) // 1_000
