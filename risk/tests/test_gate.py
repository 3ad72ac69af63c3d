"""The gate, rule by rule; each expected quantity is worked in the comment beside it."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.gate import GateLimits, Intent, judge

LIMITS = GateLimits(max_position_weight=1.0, max_gross_exposure=1.0, max_bars_behind=0)
BUY = Intent(
    quantity_held=0.0,
    quantity_wanted=100.0,
    price=50.0,
    multiplier=1.0,
    lot=1.0,
    book_equity=10_000.0,
    account_equity=20_000.0,
    gross_elsewhere=0.0,
    bars_behind=0,
    kill_switch_engaged=False,
    closing_on_kill=False,
    live=False,
    live_allowed=False,
    data_fault="",
)
SELL_ALL = replace(BUY, quantity_held=100.0, quantity_wanted=0.0)


def test_an_order_within_all_limits_is_approved_with_every_check_shown():
    verdict = judge(BUY, LIMITS)
    assert (verdict.verdict, verdict.quantity_allowed, verdict.reason_code, verdict.reason) == ("approved", 100, "", "")
    assert [check.code for check in verdict.checks] == [
        "KILL_SWITCH", "NO_LIMITS", "STALE_DATA", "DATA_FAULT", "LIVE_NOT_ALLOWED", "NO_EQUITY", "POSITION_LIMIT",
        "EXPOSURE_LIMIT",
    ]  # fmt: skip


def test_keeping_what_is_held_is_no_order_even_while_stopped():
    assert judge(replace(BUY, quantity_wanted=0.0, kill_switch_engaged=True), LIMITS).verdict == "no_order"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"kill_switch_engaged": True}, "KILL_SWITCH"),
        ({"bars_behind": 1}, "STALE_DATA"),
        ({"bars_behind": -1}, "STALE_DATA"),
        ({"bars_behind": None}, "STALE_DATA"),
        ({"bars_behind": math.nan}, "STALE_DATA"),
        ({"data_fault": "3 bars have impossible prices"}, "DATA_FAULT"),
        ({"data_fault": None}, "DATA_FAULT"),
        ({"live": True}, "LIVE_NOT_ALLOWED"),
        ({"book_equity": 0.0}, "NO_EQUITY"),
        ({"book_equity": -5.0}, "NO_EQUITY"),
    ],
)
def test_a_blocking_rule_denies_the_whole_order(change, code):
    verdict = judge(replace(BUY, **change), LIMITS)
    assert (verdict.verdict, verdict.quantity_allowed, verdict.reason_code) == ("denied", 0.0, code)
    assert verdict.reason


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf, None])
@pytest.mark.parametrize(
    "field",
    ["quantity_held", "quantity_wanted", "price", "multiplier", "lot", "book_equity", "account_equity",
     "gross_elsewhere"],
)  # fmt: skip
def test_a_number_that_is_none_denies(field, broken):
    verdict = judge(replace(BUY, **{field: broken}), LIMITS)
    assert (verdict.verdict, verdict.reason_code) == ("denied", "BAD_INPUT")


@pytest.mark.parametrize("field", ["price", "multiplier", "lot"])
@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_price_lot_or_multiplier_must_be_positive(field, value):
    assert judge(replace(BUY, **{field: value}), LIMITS).reason_code == "BAD_INPUT"


@pytest.mark.parametrize(
    "limits",
    [
        None,
        GateLimits(math.nan, 1.0, 0),  # PostgreSQL's check "> 0" lets NaN and infinity through
        GateLimits(1.0, math.inf, 0),
        GateLimits(1.0, None, 0),  # type: ignore[arg-type]
        GateLimits(0.0, 1.0, 0),
        GateLimits(1.0, 1.0, None),  # type: ignore[arg-type]
    ],
)
def test_missing_or_meaningless_limits_deny(limits):
    verdict = judge(BUY, limits)
    assert (verdict.verdict, verdict.reason_code) == ("denied", "NO_LIMITS")


def test_live_with_the_switch_on_is_approved():
    assert judge(replace(BUY, live=True, live_allowed=True), LIMITS).verdict == "approved"


def test_old_data_within_the_limit_is_fresh():
    assert judge(replace(BUY, bars_behind=2), replace(LIMITS, max_bars_behind=2)).verdict == "approved"


def test_position_limit_makes_an_order_smaller_toward_zero_in_lots():
    # half of 10,000 at 50 is 100 shares; in lots of 30: 90
    limits = replace(LIMITS, max_position_weight=0.5)
    verdict = judge(replace(BUY, quantity_wanted=150.0, lot=30.0), limits)
    assert (verdict.verdict, verdict.quantity_allowed, verdict.reason_code) == ("resized", 90.0, "POSITION_LIMIT")
    short = judge(replace(BUY, quantity_wanted=-150.0, lot=30.0), limits)
    assert (short.verdict, short.quantity_allowed) == ("resized", -90.0)


def test_exposure_limit_counts_the_other_positions_of_the_account():
    # 0.5·20,000 − 7,000 elsewhere leaves 3,000: 60 shares at 50
    verdict = judge(replace(BUY, gross_elsewhere=7_000.0), replace(LIMITS, max_gross_exposure=0.5))
    assert (verdict.verdict, verdict.quantity_allowed, verdict.reason_code) == ("resized", 60.0, "EXPOSURE_LIMIT")


def test_the_tighter_of_two_limits_counts():
    # by position 0.8·10,000/50 = 160; by exposure (0.5·20,000 − 9,000)/50 = 20
    verdict = judge(replace(BUY, quantity_wanted=200.0, gross_elsewhere=9_000.0), GateLimits(0.8, 0.5, 0))
    assert verdict.quantity_allowed == 20.0


def test_no_room_at_all_denies():
    verdict = judge(replace(BUY, gross_elsewhere=25_000.0), LIMITS)
    assert (verdict.verdict, verdict.quantity_allowed, verdict.reason_code) == ("denied", 0.0, "EXPOSURE_LIMIT")
    assert judge(replace(BUY, account_equity=-1.0), LIMITS).reason_code == "EXPOSURE_LIMIT"


def test_a_limit_never_turns_an_increase_into_a_sale():
    # 150 are held and 200 wanted, but only 100 are within the limit: the 150 stay
    verdict = judge(replace(BUY, quantity_held=150.0, quantity_wanted=200.0), replace(LIMITS, max_position_weight=0.5))
    assert (verdict.verdict, verdict.quantity_allowed) == ("denied", 150.0)


def test_a_reversal_without_room_closes_the_position():
    verdict = judge(replace(BUY, quantity_held=100.0, quantity_wanted=-100.0, gross_elsewhere=30_000.0), LIMITS)
    assert (verdict.verdict, verdict.quantity_allowed) == ("resized", 0.0)
    assert math.copysign(1.0, verdict.quantity_allowed) == 1.0, "no minus zero on the page"


@pytest.mark.parametrize(("held", "wanted"), [(100.0, 40.0), (100.0, 0.0), (-100.0, -99.0), (-100.0, 0.0)])
@pytest.mark.parametrize(
    "change", [{"gross_elsewhere": 1e9}, {"account_equity": -1.0}, {"book_equity": -500.0}, {"lot": 1000.0}]
)
def test_a_reduction_meets_no_size_limit_even_without_equity(held, wanted, change):
    verdict = judge(replace(BUY, quantity_held=held, quantity_wanted=wanted, **change), LIMITS)
    assert (verdict.verdict, verdict.quantity_allowed) == ("approved", wanted)


@pytest.mark.parametrize(
    "change",
    [{"kill_switch_engaged": True}, {"bars_behind": None}, {"live": True}, {"data_fault": "bad"}, {"data_fault": None}],
)
def test_a_reduction_is_blocked_like_any_order(change):
    verdict = judge(replace(SELL_ALL, **change), LIMITS)
    assert (verdict.verdict, verdict.quantity_allowed) == ("denied", 100.0)


def test_closing_for_the_kill_switch_passes_while_stopped_stale_and_without_equity():
    stopped = replace(SELL_ALL, kill_switch_engaged=True, closing_on_kill=True, bars_behind=None, book_equity=-1.0)
    assert judge(stopped, LIMITS).verdict == "approved"


@pytest.mark.parametrize("fault", ["3 bars have impossible prices", None])
def test_closing_for_the_kill_switch_passes_whatever_is_wrong_with_the_data(fault):
    stopped = replace(SELL_ALL, kill_switch_engaged=True, closing_on_kill=True, data_fault=fault)
    assert judge(stopped, LIMITS).verdict == "approved"
    assert judge(replace(stopped, closing_on_kill=False, kill_switch_engaged=False), LIMITS).verdict == "denied"


def test_a_data_fault_is_the_reason_in_its_own_words():
    assert judge(replace(BUY, data_fault="3 bars have impossible prices"), LIMITS).reason == (
        "3 bars have impossible prices"
    )
    assert judge(replace(BUY, data_fault=None), LIMITS).reason == "the state of the data is unknown"


@pytest.mark.parametrize("wanted", [200.0, 50.0, -1.0])
def test_closing_for_the_kill_switch_allows_nothing_but_closing(wanted):
    intent = replace(SELL_ALL, quantity_wanted=wanted, kill_switch_engaged=True, closing_on_kill=True)
    assert judge(intent, LIMITS).reason_code == "KILL_SWITCH"


amounts = st.floats(-1e6, 1e6)
quantities = st.integers(-5000, 5000).map(float)


@settings(max_examples=400, deadline=None)
@given(
    held=quantities,
    wanted=quantities,
    price=st.floats(0.01, 1e4),
    lot=st.sampled_from([1.0, 10.0, 0.5]),
    book_equity=amounts,
    account_equity=amounts,
    elsewhere=st.floats(0, 1e6),
    weight=st.floats(0.01, 3),
    gross=st.floats(0.01, 3),
    engaged=st.booleans(),
    behind=st.sampled_from([None, 0, 1]),
)
def test_what_is_allowed_lies_between_held_and_wanted_and_within_the_limits(
    held, wanted, price, lot, book_equity, account_equity, elsewhere, weight, gross, engaged, behind
):
    intent = Intent(
        held, wanted, price, 1.0, lot, book_equity, account_equity, elsewhere, behind, engaged, False, False, False, ""
    )
    verdict = judge(intent, GateLimits(weight, gross, 0))
    allowed = verdict.quantity_allowed
    assert min(held, wanted) <= allowed <= max(held, wanted), "never the other way, never past the wish"
    if verdict.verdict in ("denied", "no_order"):
        assert allowed == held
    if engaged or behind != 0:
        assert allowed == held
    grows = abs(allowed) > abs(held) or allowed * held < 0
    if grows:
        slack = 1e-6 * price * max(lot, 1.0) + 1e-6
        assert abs(allowed) * price <= weight * book_equity + slack
        assert abs(allowed) * price + elsewhere <= gross * account_equity + slack
