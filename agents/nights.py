"""Which session each bar belongs to: interest, borrow fees, splits and dividends come with a new session."""

from datetime import UTC, datetime, timedelta

import numpy as np

from agents.environment.market import session_days
from agents.policies.features import DAY
from core.models import Instrument
from marketdata import calendars
from marketdata.corporate import day_zone

# A session that lies across midnight may carry the date of the day after.
SPARE = timedelta(days=7)


def load_session_days(instrument: Instrument, interval_seconds: int, time: np.ndarray) -> np.ndarray:
    """Ordinal (days since 1970) of the session of each bar, (T,) int64; see market.session_days.

    time: starts of bars, (T,) int64 seconds UTC, ascending. Training and live both come through here.
    """
    sessions = None
    if interval_seconds < DAY and len(time):
        first, last = (datetime.fromtimestamp(int(time[row]), UTC).date() for row in (0, -1))
        sessions = calendars.sessions(instrument.calendar, first - SPARE, last + SPARE)
    return session_days(time, interval_seconds, sessions, day_zone(instrument, interval_seconds))


def nights_between(instrument: Instrument, interval_seconds: int, earlier: datetime, later: datetime) -> int:
    """Calendar days between the sessions of two bars; 0 within a session."""
    time = np.array([int(earlier.timestamp()), int(later.timestamp())], dtype=np.int64)
    days = load_session_days(instrument, interval_seconds, time)
    return int(days[1] - days[0])
