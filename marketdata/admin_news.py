"""Admin pages for news, its tone, and what operators set about data."""

from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from core.admin_display import HistoryAdmin
from core.admin_journal import JournalledAdmin
from marketdata.models import DataSettings, NewsItem, SentimentCall
from marketdata.news.language_model import SERVICES

LONGEST_TIMEOUT = 120.0


class DataSettingsForm(forms.ModelForm):
    """Refuses what could not work."""

    class Meta:
        model = DataSettings
        fields = (
            "tick_days", "compress_after_days", "sentiment", "sentiment_address", "sentiment_model",
            "sentiment_calls_per_day", "sentiment_timeout_seconds", "news_feeds",
        )  # fmt: skip

    def clean_tick_days(self) -> int | None:
        """Nothing younger than a day may be dropped: bars of today are still made of it."""
        days = self.cleaned_data["tick_days"]
        if days is not None and days < 1:
            raise forms.ValidationError("Give at least 1 day, or leave it empty to keep all ticks.")
        return days

    def clean_sentiment_timeout_seconds(self) -> float:
        seconds = self.cleaned_data["sentiment_timeout_seconds"]
        if not 0 < seconds <= LONGEST_TIMEOUT:
            raise forms.ValidationError(f"Give more than 0 and at most {LONGEST_TIMEOUT:g} seconds.")
        return seconds

    def clean_sentiment_address(self) -> str:
        address = self.cleaned_data["sentiment_address"]
        if address and not _is_address(address):
            raise forms.ValidationError("Give an address that begins with http:// or https://, or leave it empty.")
        return address

    def clean_news_feeds(self) -> list[str]:
        feeds = self.cleaned_data["news_feeds"] or []
        if not isinstance(feeds, list) or not all(isinstance(feed, str) and _is_address(feed) for feed in feeds):
            raise forms.ValidationError('Give a list of addresses, such as ["https://example.org/news.rss"].')
        return feeds


@admin.register(DataSettings)
class DataSettingsAdmin(JournalledAdmin):
    """One row. The key of a language model is not stored here: it is read from DESK_SENTIMENT_KEY."""

    form = DataSettingsForm
    list_display = ("__str__", "sentiment", "tick_days", "compress_after_days")
    fieldsets = (
        ("Ticks", {"fields": ("tick_days", "compress_after_days")}),
        (
            "News and its tone",
            {
                "fields": (
                    "news_feeds", "sentiment", "sentiment_address", "sentiment_model", "sentiment_calls_per_day",
                    "sentiment_timeout_seconds",
                ),
                "description": f"Language models: {', '.join(SERVICES)}. Without an answer the word list is used.",
            },
        ),
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> Any:
        """The row is there before anybody has changed it."""
        DataSettings.load()
        return super().get_queryset(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """There is one row."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: DataSettings | None = None) -> bool:
        """There is one row."""
        return False


@admin.register(NewsItem)
class NewsItemAdmin(HistoryAdmin):
    """Headlines as they came."""

    list_display = ("title", "time", "source", "tone", "about")
    list_filter = ("source", "instruments")
    search_fields = ("title", "instruments__symbol")

    def get_queryset(self, request: HttpRequest) -> Any:
        """With what the list shows."""
        return super().get_queryset(request).prefetch_related("scores", "instruments")

    @admin.display(description="tone, −1 to 1")
    def tone(self, item: NewsItem) -> str:
        """Every model's score."""
        return ", ".join(f"{score.score:+.2f} ({score.model})" for score in item.scores.all()) or "–"

    @admin.display(description="about")
    def about(self, item: NewsItem) -> str:
        """The instruments it is linked to."""
        return ", ".join(instrument.symbol for instrument in item.instruments.all()) or "–"


@admin.register(SentimentCall)
class SentimentCallAdmin(HistoryAdmin):
    """Requests to language models: what the daily budget counts."""

    list_display = ("time", "model", "n_items", "seconds", "error")
    list_filter = ("model",)


def _is_address(text: str) -> bool:
    parts = urlsplit(text)
    return parts.scheme in ("http", "https") and bool(parts.netloc)
