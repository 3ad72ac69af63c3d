"""The streams that feed bars to agents, who waits for them, and the jobs that fetch history."""

from django.db import models
from django.utils import timezone

from core.models import Instrument, JobRow
from marketdata.models.bars import DAY, DataImport


class Stream(JobRow):
    """Feeds bars to agents in order; `cursor` is the last bar it has published.

    A replay publishes stored history at its own pace. A live stream stores what its source brings, then publishes it.
    Downstream both are the same: bars in the table, a cursor that moves on, and a notice.
    """

    class Source(models.TextChoices):
        REPLAY = "replay", "replay of stored bars"
        YAHOO = "yahoo", "Yahoo, asked every few minutes"
        BRIDGE = "bridge", "Interactive Brokers through the bridge"
        CCXT = "ccxt", "crypto exchange"
        SIMULATOR = "simulator", "simulated market"

    name = models.SlugField(max_length=60, unique=True)
    source = models.CharField(max_length=12, choices=Source, default=Source.REPLAY)
    instruments = models.ManyToManyField(Instrument, related_name="streams")
    interval_seconds = models.IntegerField(default=DAY)
    bars_per_second = models.FloatField(default=1.0, help_text="Replay speed; 0 means as fast as the agents can go.")
    from_time = models.DateTimeField(help_text="First bar to publish.")
    to_time = models.DateTimeField(null=True, blank=True, help_text="Last bar to publish; empty for a live stream.")
    cursor = models.DateTimeField(null=True, blank=True, help_text="Time of the last published bar.")
    published_at = models.DateTimeField(null=True, blank=True)
    options = models.JSONField(default=dict, blank=True, help_text="For the source, such as a simulator's seed.")
    progress = models.JSONField(
        default=dict, blank=True, help_text="What the process says of itself: next look, last error, counts."
    )

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(condition=models.Q(bars_per_second__gte=0), name="stream_speed_not_negative"),
            models.CheckConstraint(
                condition=models.Q(from_time__lte=models.F("to_time")), name="stream_from_before_to"
            ),
            models.CheckConstraint(
                condition=~models.Q(source="replay") | models.Q(to_time__isnull=False), name="stream_replay_ends"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_live(self) -> bool:
        """Whether its bars come from outside as they happen, instead of from the history."""
        return self.source != self.Source.REPLAY


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


class Fetch(JobRow):
    """One job that brings history in, from a source or an uploaded file, with progress; it can be cancelled."""

    source = models.CharField(max_length=32, help_text="Name of the source, such as yahoo or file.")
    instrument = models.ForeignKey(Instrument, on_delete=models.CASCADE, related_name="fetches")
    interval_seconds = models.IntegerField(default=DAY)
    from_time = models.DateTimeField(null=True, blank=True)
    to_time = models.DateTimeField(null=True, blank=True)
    options = models.JSONField(default=dict, blank=True, help_text="For a file: path, columns, zone, adjustment.")
    done = models.FloatField(default=0.0, help_text="Share of the work done, 0 to 1.")
    n_rows = models.IntegerField(default=0, help_text="Rows read so far, good and bad.")
    n_stored = models.IntegerField(default=0)
    n_bad = models.IntegerField(default=0)
    requested_by = models.CharField(max_length=80, default="system")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    ended_at = models.DateTimeField(null=True, blank=True)
    data_import = models.ForeignKey(DataImport, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "fetches"

    def __str__(self) -> str:
        return f"{self.instrument} from {self.source}"
