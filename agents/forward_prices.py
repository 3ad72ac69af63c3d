"""Forward-adjusted bars as they come: the values load_adjusted(..., FORWARD) has, without reading the history again."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from core.models import Instrument
from marketdata.adjusted import Mode, Step, apply_steps
from marketdata.corporate import day_zone, load_steps
from marketdata.models import CorporateAction
from marketdata.series import BarSeries

Known = dict[int, tuple[tuple[date, str, float], ...]]


def stored_actions(instruments: Iterable[int], moment: datetime) -> Known:
    """Splits and dividends the prices do not contain, by instrument, in one query; those up to a day after a bar."""
    wanted = set(instruments)
    until = (moment + timedelta(days=1)).date()  # wherever the exchange is, its day is no later
    rows = CorporateAction.objects.filter(instrument__in=wanted, in_prices=False, ex_date__lte=until)
    found: dict[int, list[tuple[date, str, float]]] = {number: [] for number in wanted}
    for row in rows.order_by("ex_date", "kind"):
        found[row.instrument_id].append((row.ex_date, row.kind, row.value))
    return {number: tuple(actions) for number, actions in found.items()}


@dataclass
class ForwardPrices:
    """The steps of one instrument's bars, read again only when an action is new on a day."""

    instrument: Instrument
    interval_seconds: int
    _actions: tuple[tuple[date, str, float], ...] = ()
    _steps: list[Step] = field(default_factory=list)

    def day(self, moment: datetime) -> date:
        """The day a bar belongs to."""
        return moment.astimezone(day_zone(self.instrument, self.interval_seconds)).date()

    def learn(self, known: Known, moment: datetime, taken_until: int = -1) -> bool:
        """Take over the actions known at a bar.

        taken_until: start of the last bar already used, in seconds. Returns: False if the values of bars up to there
        have become others, because an action was stored late or corrected.
        Raises: ValueError for an action no price can have.
        """
        day = self.day(moment)
        actions = tuple(action for action in known.get(self.instrument.pk, ()) if action[0] <= day)
        if actions == self._actions:
            return True
        before, self._actions = self._steps, actions
        self._steps = load_steps(self.instrument, self.interval_seconds, day) if actions else []
        return _until(before, taken_until) == _until(self._steps, taken_until)

    def adjust(self, bars: BarSeries) -> BarSeries:
        """Bars as traded, forward-adjusted."""
        return apply_steps(bars, self._steps, Mode.FORWARD) if self._steps else bars


def _until(found: list[Step], time: int) -> list[Step]:
    return [step for step in found if step.time <= time]
