import builtins

import pytest

from core.models import Instrument
from marketdata.sources import registry
from marketdata.sources.base import SourceRefusedError
from marketdata.tests.stream_world import MONDAY


def test_every_source_has_a_name_and_a_label():
    assert list(registry.names()) == ["yahoo", "bridge", "ccxt", "simulator"]
    assert registry.names()["simulator"] == "Simulated market"


def test_a_source_is_made_when_it_is_asked_for():
    found = registry.source("simulator")
    assert (found.name, found.intervals) == ("simulator", ())


def test_an_unknown_name_is_refused_with_those_there_are():
    with pytest.raises(SourceRefusedError, match="there is no source 'file'; known: yahoo, bridge, ccxt, simulator"):
        registry.source("file")


def test_a_missing_package_breaks_only_the_source_that_needs_it(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name == "marketdata.sources.ccxt_source":
            raise ModuleNotFoundError("No module named 'ccxt'", name="ccxt")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SourceRefusedError, match="the package ccxt is not installed"):
        registry.source("ccxt")
    assert registry.source("simulator").name == "simulator"


def test_what_is_asked_is_in_the_spelling_of_the_source():
    vix = Instrument(symbol="VIX", calendar="XNYS", tick_size="0.05")
    options = {"symbols": {"VIX": "^VIX"}, "refresh": True, "covered": [[1, 2]], "seed": 7, "tick_size": 0.5}
    asked = registry.asked(vix, 60, start=MONDAY, options=options)
    assert (asked.symbol, asked.interval_seconds, asked.start, asked.end) == ("^VIX", 60, MONDAY, None)
    assert asked.options == {"calendar": "XNYS", "tick_size": 0.5, "seed": 7}
    assert registry.asked(vix, 60).options == {"calendar": "XNYS", "tick_size": 0.05}
    assert registry.asked(Instrument(symbol="A"), 60).symbol == "A"


def test_live_bars_come_in_fewer_lengths_than_history():
    assert registry.live_intervals("yahoo") == (60, 300, 900)
    assert 1 in registry.live_intervals("bridge") and 86_400 not in registry.live_intervals("bridge")
    assert registry.live_intervals("simulator") == ()
    with pytest.raises(SourceRefusedError, match="no source 'moon'"):
        registry.live_intervals("moon")


@pytest.mark.parametrize(
    ("name", "interval", "options", "brings"),
    [
        ("simulator", 1, {}, True), ("simulator", 60, {"ticks": True}, False), ("bridge", 1, {}, False),
        ("bridge", 5, {}, True), ("ccxt", 60, {}, True), ("yahoo", 60, {}, True),
    ],
)  # fmt: skip
def test_ticks_make_bars_only_where_the_source_brings_none(name, interval, options, brings):
    assert registry.brings_bars(name, interval, options) is brings
