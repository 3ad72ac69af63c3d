"""Headlines in the database: each once, linked to instruments, and scored once and for good."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from core.models import Instrument
from core.notices import notify
from marketdata.models import DataSettings, NewsItem, SentimentCall, SentimentScore
from marketdata.news import language_model, lexicon
from marketdata.news.headline import Headline
from marketdata.news.language_model import LanguageModel, ModelUnavailable
from marketdata.news.matching import about

logger = logging.getLogger(__name__)

# News older than this when it first reaches us is history: nobody pretends to have learned of it only now.
HISTORY_AFTER = timedelta(days=1)
MOST_A_RUN = 400
MOST_FAILURES = 2  # of the language model one after the other; then a run asks it no more
SCORING_LOCK = 0x6E657773  # any number; jobs lock pairs of numbers, which are others


@transaction.atomic
def store_headlines(headlines: Sequence[Headline], source: str, instrument: Instrument | None = None) -> int:
    """Keep headlines that are new and link each to what it is about. Returns: how many were new.

    instrument: what the source was asked about; others are linked too when the title names them. A headline that is
    there already is linked once more where it was not, since several instruments' feeds carry it.
    """
    now = timezone.now()
    known = list(Instrument.objects.values_list("pk", "symbol", "name"))
    n_new = 0
    for one in sorted(headlines, key=lambda one: one.guid):  # in one order, so that two at once cannot block each other
        published = min(one.time, now)  # a clock that is ahead must not hide news until it has caught up
        item, created = NewsItem.objects.get_or_create(
            guid=one.guid[:300],
            defaults={
                "time": published,
                "known_at": published if now - published > HISTORY_AFTER else now,
                "source": source,
                "title": one.title[:500],
                "summary": one.summary,
                "url": one.url[:1000],
            },
        )
        item.instruments.add(*about(one.title, known), *([instrument.pk] if instrument else []))
        n_new += created
    if n_new:
        notify("news")
    return n_new


def score_pending() -> int:
    """Score every headline that has no score of the chosen model yet, newest first. Returns: how many were scored.

    The word list scores at once. A language model is asked in groups within its daily budget; what it does not answer
    the word list scores, and that score stays: a headline's tone must not change after somebody has traded on it.
    One process scores at a time, or a headline could get two tones and the budget be used twice; another returns 0.
    """
    chosen = DataSettings.load()
    if chosen.sentiment == DataSettings.Sentiment.OFF:
        return 0
    with _alone() as nobody_else:
        return _score_waiting(chosen) if nobody_else else 0


@contextmanager
def _alone() -> Iterator[bool]:
    """Whether no other process scores now; until the end none begins."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [SCORING_LOCK])
        [got] = cursor.fetchone()
        try:
            yield got
        finally:
            if got:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [SCORING_LOCK])


def _score_waiting(chosen: DataSettings) -> int:
    waiting = list(NewsItem.objects.filter(scores__isnull=True).order_by("-time")[:MOST_A_RUN])
    model, n_failed = _language_model(chosen), 0
    for first in range(0, len(waiting), language_model.MOST_A_CALL):
        group = waiting[first : first + language_model.MOST_A_CALL]
        asked = model if n_failed < MOST_FAILURES else None
        scores, name = _ask(asked, group, chosen.sentiment_calls_per_day) if asked else (None, "")
        n_failed = n_failed + 1 if scores is None else 0
        if scores is None:
            scores, name = [lexicon.score(f"{item.title}. {item.summary}"[:1000]) for item in group], lexicon.NAME
        _keep(group, scores, name)
    return len(waiting)


def _language_model(chosen: DataSettings) -> LanguageModel | None:
    """The service operators chose; None for the word list."""
    if chosen.sentiment not in language_model.SERVICES:
        return None
    address, model = language_model.SERVICES[chosen.sentiment]
    return LanguageModel(
        address=chosen.sentiment_address or address,
        model=chosen.sentiment_model or model,
        key=settings.SENTIMENT_KEY,
        timeout_seconds=chosen.sentiment_timeout_seconds,
    )


def _ask(model: LanguageModel, group: list[NewsItem], budget: int) -> tuple[list[float] | None, str]:
    """The model's scores, or None when its budget is used up or it does not answer."""
    today = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    if SentimentCall.objects.filter(time__gte=today).count() >= budget:
        return None, ""
    began = time.monotonic()
    problem, scores = "", None
    try:
        scores = model.scores([item.title for item in group])
    except ModelUnavailable as error:
        problem = str(error)
        logger.warning("%s; the word list is used instead", problem)
    seconds = time.monotonic() - began
    SentimentCall.objects.create(model=model.model, n_items=len(group), seconds=seconds, error=problem[:240])
    return scores, model.model


@transaction.atomic
def _keep(group: list[NewsItem], scores: list[float], model: str) -> None:
    now = timezone.now()
    SentimentScore.objects.bulk_create(
        [SentimentScore(item=item, model=model, score=score) for item, score in zip(group, scores, strict=True)],
        ignore_conflicts=True,
    )
    # Live, a tone is known when it has been scored, not when the headline came; of history nobody knows better.
    fresh = [item.pk for item in group if item.known_at > item.time or now - item.time <= HISTORY_AFTER]
    NewsItem.objects.filter(pk__in=fresh, known_at__lt=now).update(known_at=now)
