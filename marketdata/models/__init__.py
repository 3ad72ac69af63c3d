"""Rows of the market data room."""

from marketdata.models.bars import DAY, Bar, ChartBar, CorporateAction, DataImport
from marketdata.models.health import DataFault, HealthCheck
from marketdata.models.news import DataSettings, NewsItem, SentimentCall, SentimentScore
from marketdata.models.streams import Fetch, Stream, Subscription
from marketdata.models.ticks import Tick, TickState

__all__ = [
    "DAY",
    "Bar",
    "ChartBar",
    "CorporateAction",
    "DataFault",
    "DataImport",
    "DataSettings",
    "Fetch",
    "HealthCheck",
    "NewsItem",
    "SentimentCall",
    "SentimentScore",
    "Stream",
    "Subscription",
    "Tick",
    "TickState",
]
