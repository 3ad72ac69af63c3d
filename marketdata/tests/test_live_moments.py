"""When a moment of several instruments is complete: worked by hand, in seconds."""

from marketdata.live_moments import Moments

A, B = 1, 2
HOUR = 1_709_553_600  # 2024-03-04 12:00 UTC


def moments(**values):
    return Moments({A: "24/7", B: "24/7"}, 60, **values)


def test_a_moment_waits_for_every_instrument():
    both = moments()
    both.bars_came(A, HOUR)
    assert both.complete([HOUR], HOUR + 61) == []
    both.bars_came(B, HOUR)
    assert both.complete([HOUR], HOUR + 62) == [HOUR]


def test_an_instrument_that_has_gone_on_will_not_bring_an_older_bar():
    both = moments()
    both.bars_came(A, HOUR)
    both.bars_came(B, HOUR + 60)
    assert both.complete([HOUR, HOUR + 60], HOUR + 121) == [HOUR]


def test_one_that_is_not_traded_is_waited_for_ten_seconds_and_only_once():
    both = moments()
    both.bars_came(A, HOUR + 120)
    times = [HOUR, HOUR + 60, HOUR + 120]
    assert both.complete(times, HOUR + 181) == []
    assert both.complete(times, HOUR + 190.9) == []
    assert both.complete(times, HOUR + 191) == times, "those behind it did not begin to wait later"


def test_the_grace_time_is_an_option():
    both = moments(grace_seconds=3)
    both.bars_came(A, HOUR)
    assert both.complete([HOUR], HOUR + 60) == []
    assert both.complete([HOUR], HOUR + 63) == [HOUR]


def test_nothing_is_complete_before_its_end():
    one = Moments({A: "24/7"}, 60)
    one.bars_came(A, HOUR)
    assert one.complete([HOUR], HOUR + 59.9) == []
    assert one.complete([HOUR], HOUR + 60) == [HOUR]


def test_a_daily_bar_closes_with_its_session():
    # 2024-03-04 in New York: 9:30 to 16:00, which is 14:30 to 21:00 UTC.
    day, close = HOUR - 12 * 3600, HOUR + 9 * 3600
    daily = Moments({A: "XNYS"}, 86_400)
    daily.bars_came(A, day)
    assert daily.complete([day], close - 1) == [] and daily.complete([day], close) == [day]
    assert Moments({A: "XNYS", B: "24/7"}, 86_400).closes(day) == day + 86_400, "the later of both"


def test_from_ticks_a_bar_is_closed_when_all_have_gone_beyond_it():
    both = moments(from_ticks=True)
    both.ticks_came(A, HOUR + 60.5)
    both.ticks_came(B, HOUR + 59)
    assert both.complete([HOUR], HOUR + 60.6) == []
    both.ticks_came(B, HOUR + 60.7)
    assert both.complete([HOUR], HOUR + 60.8) == [HOUR]


def test_from_ticks_the_clock_closes_a_bar_of_a_quiet_instrument():
    both = moments(from_ticks=True)
    both.ticks_came(A, HOUR + 30)
    assert both.complete([HOUR], HOUR + 61.9) == []
    assert both.complete([HOUR], HOUR + 62) == [HOUR]


def test_in_a_market_with_its_own_clock_only_ticks_tell_the_time():
    both = moments(by_clock=False, from_ticks=True)
    both.ticks_came(A, HOUR + 30)
    assert both.complete([HOUR], HOUR + 9_999_999) == []
    both.ticks_came(A, HOUR + 62)
    assert both.complete([HOUR], HOUR + 9_999_999) == [HOUR]


def test_a_half_bar_of_an_earlier_run_waits_for_the_first_tick():
    again = moments(by_clock=False, from_ticks=True)
    assert again.complete([HOUR], HOUR + 9_999_999) == []
