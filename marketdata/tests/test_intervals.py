import pytest

from marketdata import intervals

WRITTEN = [("1s", 1), ("5s", 5), ("1m", 60), ("5m", 300), ("15m", 900), ("1h", 3600), ("1d", 86_400)]


@pytest.mark.parametrize(("text", "seconds"), WRITTEN)
def test_the_common_intervals_are_read_and_written_alike(text, seconds):
    assert intervals.parse(text) == seconds
    assert intervals.words(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds", "shortest"), [("60s", 60, "1m"), (" 90M ", 5400, "90m"), ("24h", 86_400, "1d")]
)
def test_other_spellings_are_understood(text, seconds, shortest):
    assert intervals.parse(text) == seconds
    assert intervals.words(seconds) == shortest


@pytest.mark.parametrize("text", ["", "5", "0m", "-1m", "1w", "2d", "1.5m", "5 m", "1m1s", "٥m", "99999h"])
def test_anything_else_is_refused_by_name(text):
    with pytest.raises(ValueError, match="is not an interval: give a number"):
        intervals.parse(text)
