"""The tone of a headline by a word list, on this machine, in microseconds. Pure.

VADER (Hutto and Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text", 2014)
knows everyday words and negation. Words of the market, which it does not know or reads otherwise, are added here; each
has a weight on VADER's scale of -4 to 4.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

NAME = "lexicon"
WORDS = {
    # results and outlook
    "beats": 2.2, "beat": 1.8, "tops": 1.6, "misses": -2.2, "missed": -2.0, "shortfall": -2.2, "outperforms": 2.0,
    "outperform": 1.8, "underperform": -1.8, "underperforms": -2.0, "guidance": 0.0, "record": 1.2, "profit": 1.6,
    "profits": 1.6, "profitable": 1.8, "loss": -1.9, "losses": -1.9, "warning": -2.0, "warns": -2.0, "outlook": 0.0,
    "raises": 1.2, "raised": 1.2, "lifts": 1.2, "hikes": 0.3, "cuts": -1.2, "lowers": -1.4, "lowered": -1.4,
    "slashes": -2.2, "weak": -1.8, "weaker": -1.8, "strong": 1.8, "stronger": 1.8, "growth": 1.4, "slowdown": -1.8,
    # prices
    "surge": 2.4, "surges": 2.4, "soars": 2.6, "soar": 2.6, "jumps": 1.8, "rallies": 1.9, "rally": 1.8, "gains": 1.6,
    "climbs": 1.4, "rises": 1.2, "rebounds": 1.5, "plunges": -2.8, "plunge": -2.6, "plummets": -2.8, "tumbles": -2.4,
    "slumps": -2.2, "slump": -2.2, "sinks": -2.0, "falls": -1.4, "drops": -1.4, "slides": -1.6, "crash": -3.0,
    "selloff": -2.2, "sell-off": -2.2, "volatile": -0.8,
    # what analysts and companies do
    "upgrade": 2.0, "upgrades": 2.0, "upgraded": 2.0, "downgrade": -2.0, "downgrades": -2.0, "downgraded": -2.0,
    "overweight": 1.4, "underweight": -1.4, "buyback": 1.4, "dividend": 0.6, "layoffs": -1.6, "recall": -1.8,
    "recalls": -1.8, "probe": -1.6, "investigation": -1.6, "lawsuit": -1.7, "sues": -1.6, "sued": -1.7, "fine": -1.4,
    "fined": -1.8, "fraud": -3.0, "bankruptcy": -3.4, "bankrupt": -3.4, "default": -2.6, "defaults": -2.6,
    "delisted": -2.8, "halts": -1.4, "delays": -1.4, "delayed": -1.4, "approval": 1.8, "approves": 1.8, "wins": 1.8,
    "acquires": 0.8, "merger": 0.6, "partnership": 1.0, "breach": -2.0, "hack": -1.8, "tariffs": -1.2,
    "sanctions": -1.4,
    # everyday words that say nothing here
    "shares": 0.0, "share": 0.0, "interest": 0.0, "crude": 0.0, "vice": 0.0, "gross": 0.0, "liability": 0.0,
}  # fmt: skip


def score(text: str) -> float:
    """-1 (bad news) to +1 (good news); 0 for a text without a word that tells, and for an empty one."""
    plain = re.sub(r"\s+", " ", text).strip()
    return float(_analyser().polarity_scores(plain)["compound"]) if plain else 0.0


@cache
def _analyser() -> Any:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyser = SentimentIntensityAnalyzer()
    analyser.lexicon.update(WORDS)
    return analyser
