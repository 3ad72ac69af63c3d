"""News, what a model thinks of its tone, and what operators set about data."""

from django.db import models
from django.utils import timezone

from core.models import Instrument


class NewsItem(models.Model):
    """One headline. `known_at` is when this desk could have known it, which is what a simulation may use."""

    time = models.DateTimeField(help_text="When it was published.")
    known_at = models.DateTimeField(help_text="When it reached us; never before it was published.")
    source = models.CharField(max_length=32)
    guid = models.CharField(max_length=300, unique=True, help_text="The source's own name for it, or its address.")
    title = models.CharField(max_length=500)
    summary = models.TextField(blank=True)
    url = models.CharField(max_length=1000, blank=True)
    instruments = models.ManyToManyField(Instrument, related_name="news", blank=True)

    class Meta:
        ordering = ["-time", "-id"]
        indexes = [models.Index(fields=["-time"]), models.Index(fields=["known_at"])]

    def __str__(self) -> str:
        return self.title


class SentimentScore(models.Model):
    """The tone of one headline as one model reads it: -1 bad news, +1 good news."""

    item = models.ForeignKey(NewsItem, on_delete=models.CASCADE, related_name="scores")
    model = models.CharField(max_length=80, help_text="Such as lexicon or the language model's name.")
    score = models.FloatField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["item", "model"]
        constraints = [
            models.UniqueConstraint(fields=["item", "model"], name="sentiment_once"),
            models.CheckConstraint(condition=models.Q(score__gte=-1, score__lte=1), name="sentiment_in_range"),
        ]

    def __str__(self) -> str:
        return f"{self.score:+.2f} by {self.model}"


class SentimentCall(models.Model):
    """One request to a language model: what the daily budget counts."""

    time = models.DateTimeField(default=timezone.now, db_index=True)
    model = models.CharField(max_length=80)
    n_items = models.IntegerField()
    seconds = models.FloatField(default=0.0)
    error = models.CharField(max_length=240, blank=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.model}: {self.error or 'answered'}"


class DataSettings(models.Model):
    """What operators decide about data; one row."""

    class Sentiment(models.TextChoices):
        OFF = "off", "off"
        LEXICON = "lexicon", "word list on this machine"
        PERPLEXITY = "perplexity", "Perplexity"
        GEMINI = "gemini", "Gemini"
        OPENAI = "openai", "any OpenAI-compatible address"

    tick_days = models.PositiveIntegerField(
        null=True, blank=True, help_text="Ticks older than this many days are dropped, chunk by chunk. Empty: kept."
    )
    compress_after_days = models.PositiveIntegerField(
        null=True, blank=True, help_text="Compress ticks older than this, where the database's edition can."
    )
    sentiment = models.CharField(max_length=12, choices=Sentiment, default=Sentiment.LEXICON)
    sentiment_address = models.CharField(
        max_length=240, blank=True, help_text="Base address of the language model's service; empty takes its usual one."
    )
    sentiment_model = models.CharField(max_length=80, blank=True, help_text="Name of the language model.")
    sentiment_calls_per_day = models.PositiveIntegerField(default=200)
    sentiment_timeout_seconds = models.FloatField(default=10.0)
    news_feeds = models.JSONField(default=list, blank=True, help_text="Addresses of RSS or Atom feeds.")

    class Meta:
        verbose_name_plural = "data settings"
        constraints = [models.CheckConstraint(condition=models.Q(pk=1), name="data_settings_one_row")]

    def __str__(self) -> str:
        return "data settings"

    @classmethod
    def load(cls) -> "DataSettings":
        """The one row, made with its defaults when nobody has changed anything yet."""
        return cls.objects.get_or_create(pk=1)[0]
