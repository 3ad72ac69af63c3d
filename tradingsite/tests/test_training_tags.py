"""Estimates, moments and drawn parameters as pages show them."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from tradingsite.templatetags import training


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (8.4, "8 s"), (58, "1 min"), (660, "11 min"), (3600, "1 h"), (7800, "2 h 10 min"), (None, "–")],
)
def test_an_estimate_has_no_more_digits_than_are_meant(seconds, words):
    assert training.rough(seconds) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.00031, "3.1e−4"),
        (64, "64"),
        ([64, 32], "64 · 32"),
        ("relu", "relu"),
        (None, "–"),
        (True, "yes"),
        (0.95, "0.95"),
        (-0.002, "−2.0e−3"),
    ],
)
def test_a_parameter_is_shown_short(value, words):
    assert training.parameter(value) == words


def test_a_moment_today_is_a_time_and_another_day_has_its_date():
    now = timezone.now().astimezone(UTC)
    assert f">{now:%H:%M}<" in training.clock(now)
    assert ">5 Mar 18:00<" in training.clock(datetime(2001, 3, 5, 18, tzinfo=UTC))
    assert (now + timedelta(days=40)).isoformat() in training.clock(now + timedelta(days=40))
    assert training.clock(None) == "–"


def test_parameters_have_names():
    assert training.drawn("learning_rate") == "Learning rate" and training.drawn("gamma") == "Discount"
