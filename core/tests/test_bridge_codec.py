"""Decimals, times and choices on their way to and from the bridge."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.bridge.codec import decimal_text, decode, encode, time_text
from core.bridge.errors import BridgeAnswerError
from core.bridge.messages import Bar, Contract, OrderRequest, Session
from core.tests.bridge_answers import AAPL, NQ, bars


def test_a_bar_keeps_every_digit():
    sent = {**bars(datetime(2026, 3, 2, 14, 30, tzinfo=UTC), 1, 60)[0], "close": "100.100000000001", "more": "ignored"}
    bar = decode(Bar, sent)
    assert bar.close == Decimal("100.100000000001") and bar.average_price is None and bar.n_trades == 12
    assert bar.time == datetime(2026, 3, 2, 14, 30, tzinfo=UTC)


def test_a_date_may_be_missing():
    assert decode(Contract, AAPL).expires is None
    assert decode(Contract, NQ).expires == date(2026, 3, 20)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"con_id": True}, "Contract.con_id is True, expected a whole number"),
        ({"con_id": "1"}, "Contract.con_id is '1', expected a whole number"),
        ({"security_type": "bond"}, "expected one of stock, etf"),
        ({"expires": "20260320"}, "expected a date"),
        ({"expires": "2026-02-30"}, "expected a date"),
        ({"name": None}, "Contract.name is None, expected a text"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, object], words: str):
    with pytest.raises(BridgeAnswerError, match=words):
        decode(Contract, {**NQ, **change})


def test_missing_fields_are_named():
    with pytest.raises(BridgeAnswerError, match="Session has no closes"):
        decode(Session, {"opens": "2026-03-02T14:30:00.000000Z"})
    with pytest.raises(BridgeAnswerError, match="expected an object"):
        decode(Session, [])


@pytest.mark.parametrize(
    "text", ["2026-03-02T14:30:00Z", "2026-02-30T14:30:00.000000Z", "2026-03-02T14:30:00.000000", 5]
)
def test_only_the_one_form_of_a_time_is_read(text: object):
    with pytest.raises(BridgeAnswerError, match=r"Session\.opens"):
        decode(Session, {"opens": text, "closes": "2026-03-02T14:30:00.000000Z"})


def test_a_time_of_another_zone_is_sent_as_utc():
    # 09:30 at five hours behind is 14:30
    moment = datetime(2026, 3, 2, 9, 30, 0, 250, tzinfo=timezone(timedelta(hours=-5)))
    assert time_text(moment) == "2026-03-02T14:30:00.000250Z"
    with pytest.raises(ValueError, match="names no time zone"):
        time_text(datetime(2026, 3, 2))


def test_an_order_is_sent_with_decimal_strings():
    sent = encode(OrderRequest(con_id=1, side="buy", quantity=Decimal("1E+2"), limit_price=Decimal("10.10")))
    assert sent["quantity"] == "100" and sent["limit_price"] == "10.1" and sent["stop_price"] is None


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("Infinity"), Decimal("1E-13"), Decimal("1E+18")])
def test_a_decimal_the_contract_cannot_carry_is_refused(value: Decimal):
    with pytest.raises(ValueError, match="cannot be sent"):
        decimal_text(value)


@settings(max_examples=50)
@given(st.decimals(allow_nan=False, allow_infinity=False, places=12, min_value=-(10**15), max_value=10**15))
def test_a_decimal_comes_back_as_it_went(value: Decimal):
    assert Decimal(decimal_text(value)) == value
