"""What was found wrong with stored series, and when somebody last looked."""

from django.db import models
from django.utils import timezone

from core.models import Instrument
from marketdata.models.bars import DAY


class DataFault(models.Model):
    """One thing wrong with one series. While a blocking one is open no agent may trade on that series."""

    class Severity(models.TextChoices):
        NOTE = "note", "note"
        WARNING = "warning", "warning"
        BLOCKING = "blocking", "blocks trading"

    class Kind(models.TextChoices):
        MISSING_SESSIONS = "missing_sessions", "missing sessions"
        GAPS = "gaps", "missing bars"
        OUTLIERS = "outliers", "prices far off"
        STALE = "stale", "no new bars"
        ZERO_VOLUME = "zero_volume", "bars without volume"
        SPLIT_LIKE = "split_like", "jump like a split"
        DUPLICATES = "duplicates", "repeated bars"
        BROKEN = "broken", "impossible prices"
        OUTSIDE_SESSION = "outside_session", "bars outside trading hours"

    instrument = models.ForeignKey(Instrument, on_delete=models.CASCADE, related_name="data_faults")
    interval_seconds = models.IntegerField(default=DAY)
    kind = models.CharField(max_length=20, choices=Kind)
    severity = models.CharField(max_length=10, choices=Severity)
    n = models.IntegerField(default=1, help_text="How many bars, sessions or places.")
    first_time = models.DateTimeField(null=True, blank=True, help_text="Where in the series it begins.")
    last_time = models.DateTimeField(null=True, blank=True)
    detail = models.CharField(max_length=400, help_text="What is wrong, in one sentence.")
    examples = models.JSONField(default=list, blank=True, help_text="A few places: time and what was found.")
    found_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(default=timezone.now, help_text="The last check that still found it.")
    cleared_at = models.DateTimeField(null=True, blank=True)
    cleared_by = models.CharField(max_length=80, blank=True)
    clear_reason = models.CharField(max_length=240, blank=True)

    class Meta:
        ordering = ["instrument", "interval_seconds", "kind"]
        constraints = [
            models.UniqueConstraint(
                fields=["instrument", "interval_seconds", "kind"],
                condition=models.Q(cleared_at__isnull=True),
                name="data_fault_open_once",
            )
        ]

    def __str__(self) -> str:
        return self.detail


class HealthCheck(models.Model):
    """The last look at one series."""

    instrument = models.ForeignKey(Instrument, on_delete=models.CASCADE, related_name="health_checks")
    interval_seconds = models.IntegerField(default=DAY)
    checked_at = models.DateTimeField()
    n_bars = models.BigIntegerField(default=0)
    first_time = models.DateTimeField(null=True, blank=True)
    last_time = models.DateTimeField(null=True, blank=True)
    sources = models.JSONField(default=list, blank=True)

    class Meta:
        ordering = ["instrument", "interval_seconds"]
        constraints = [models.UniqueConstraint(fields=["instrument", "interval_seconds"], name="health_check_once")]

    def __str__(self) -> str:
        return f"{self.instrument} {self.interval_seconds} s"
