"""Bars, what was imported, and the streams that feed bars to agents."""

from django.db import models
from django.utils import timezone

from core.models import Instrument, JobRow

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

    class Meta:
        constraints = [models.UniqueConstraint(fields=["instrument", "interval_seconds", "time"], name="bar_once")]

    def __str__(self) -> str:
        return f"{self.instrument_id} {self.time:%Y-%m-%d %H:%M} {self.close}"


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


class Stream(JobRow):
    """Feeds bars to agents in order. A replay feeds stored history; `cursor` is the last bar it has published."""

    class Source(models.TextChoices):
        REPLAY = "replay", "replay of stored bars"

    name = models.SlugField(max_length=60, unique=True)
    source = models.CharField(max_length=12, choices=Source, default=Source.REPLAY)
    instruments = models.ManyToManyField(Instrument, related_name="streams")
    interval_seconds = models.IntegerField(default=DAY)
    bars_per_second = models.FloatField(default=1.0, help_text="Replay speed; 0 means as fast as the agents can go.")
    from_time = models.DateTimeField(help_text="First bar to publish.")
    to_time = models.DateTimeField(help_text="Last bar to publish.")
    cursor = models.DateTimeField(null=True, blank=True, help_text="Time of the last published bar.")
    published_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(condition=models.Q(bars_per_second__gte=0), name="stream_speed_not_negative"),
            models.CheckConstraint(
                condition=models.Q(from_time__lte=models.F("to_time")), name="stream_from_before_to"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Subscription(models.Model):
    """Somebody who must have dealt with a bar before a replay publishes the next one."""

    stream = models.ForeignKey(Stream, on_delete=models.CASCADE, related_name="subscriptions")
    subscriber = models.CharField(max_length=80, help_text="Such as agent:3.")
    active = models.BooleanField(default=False, help_text="Off: the stream does not wait for it.")
    acknowledged = models.DateTimeField(null=True, blank=True, help_text="Last bar it has dealt with.")

    class Meta:
        ordering = ["stream", "subscriber"]
        constraints = [models.UniqueConstraint(fields=["stream", "subscriber"], name="subscribed_once")]

    def __str__(self) -> str:
        return f"{self.subscriber} on {self.stream.name}"
