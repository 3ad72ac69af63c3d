"""Bars, their coarser levels for charts, what was imported, and what companies did to their shares."""

from django.db import models
from django.utils import timezone

from core.models import Instrument

DAY = 86_400


class Bar(models.Model):
    """One OHLCV interval; `time` is its start in UTC. A hypertable, written by COPY (see queries.py).

    A daily bar's time is its session's date at 00:00 UTC: a label for the session, usable only after its close.
    """

    time = models.DateTimeField()
    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, related_name="bars")
    interval_seconds = models.IntegerField(default=DAY)
    open = models.FloatField()
    high = models.FloatField()
    low = models.FloatField()
    close = models.FloatField()
    volume = models.FloatField()
    source = models.CharField(max_length=32)
    outside_session = models.BooleanField(
        default=False, help_text="Began while the instrument's exchange was closed; see calendars.py."
    )

    class Meta:
        constraints = [models.UniqueConstraint(fields=["instrument", "interval_seconds", "time"], name="bar_once")]

    def __str__(self) -> str:
        return f"{self.instrument_id} {self.time:%Y-%m-%d %H:%M} {self.close}"


class ChartBar(models.Model):
    """Bars merged to a coarser level, so that years fit a screen without being read. A hypertable (see levels.py).

    `level_seconds` is the length of the merged bar, `interval_seconds` that of the bars it was made of. Levels are
    aligned to 1970-01-01 UTC. Never read by agents: what they see is always the bars themselves.
    """

    pk = models.CompositePrimaryKey("instrument_id", "interval_seconds", "level_seconds", "time")
    time = models.DateTimeField()
    instrument = models.ForeignKey(
        Instrument, on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    interval_seconds = models.IntegerField()
    level_seconds = models.IntegerField()
    first_time = models.DateTimeField(help_text="Time of the first bar in it.")
    open = models.FloatField()
    high = models.FloatField()
    low = models.FloatField()
    close = models.FloatField()
    volume = models.FloatField()
    n_bars = models.IntegerField()

    def __str__(self) -> str:
        return f"{self.instrument_id} {self.level_seconds} s {self.time:%Y-%m-%d %H:%M}"


class CorporateAction(models.Model):
    """A split or dividend. Prices before `ex_date` are not comparable with those from it on until adjusted."""

    class Kind(models.TextChoices):
        SPLIT = "split", "split"
        DIVIDEND = "dividend", "dividend"

    instrument = models.ForeignKey(Instrument, on_delete=models.CASCADE, related_name="corporate_actions")
    ex_date = models.DateField(help_text="First session without the old shares or the dividend.")
    kind = models.CharField(max_length=10, choices=Kind)
    value = models.FloatField(help_text="New shares for one old share, or dividend a share in the currency.")
    source = models.CharField(max_length=32)
    in_prices = models.BooleanField(
        default=False, help_text="The stored bars already contain it, so it must not be applied again."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["instrument", "-ex_date"]
        constraints = [
            models.UniqueConstraint(fields=["instrument", "ex_date", "kind"], name="corporate_action_once"),
            models.CheckConstraint(condition=models.Q(value__gt=0), name="corporate_action_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.instrument} {self.kind} {self.value:g} on {self.ex_date}"


class DataImport(models.Model):
    """One file brought in: how many rows were good, which were not and why."""

    instrument = models.ForeignKey(Instrument, on_delete=models.CASCADE, related_name="imports")
    name = models.CharField(max_length=240, help_text="File or package the rows came from.")
    source = models.CharField(max_length=32)
    sha256 = models.CharField(max_length=64)
    interval_seconds = models.IntegerField(default=DAY)
    n_rows = models.IntegerField(default=0)
    n_good = models.IntegerField(default=0)
    n_bad = models.IntegerField(default=0)
    problems = models.JSONField(default=list, blank=True, help_text="Bad rows: number, reason; at most 1,000.")
    first_time = models.DateTimeField(null=True, blank=True)
    last_time = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.name}: {self.n_good} good, {self.n_bad} bad"
