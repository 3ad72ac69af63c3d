"""A book with several instruments through the real ledger gives what the kernel alone gives, on random markets.

Money agrees to 1e-6 of an account of 50,000: the ledger rounds each amount it books to 10 places, half a unit of the
last of them. A price without a tick is rounded likewise and counts times its quantity, some tens of coins; and a few
hundred amounts make a run, so the roundings add up to less than 1e-7. Quantities are whole lots; 1e-9 is for the hair
by which the kernel's float of 0.001 lots misses the ledger's number. Which fills there are, and why, must be the same.
"""

from collections import Counter

import numpy as np
import pytest
from django.db import transaction

from core.models import Book, EquitySnapshot, Event, Fill, Financing, Order, Position
from risk.models import BookedAction
from tests.several import Case, Desk, Lived, by_broker, by_kernel, make

pytestmark = pytest.mark.django_db
MONEY, QUANTITY = 1e-6, 1e-9
# Between them these cases of 30 bars meet every purpose of an order, every charge, splits, dividends and calls.
SEEDS = (4, 6, 11, 16, 23)
TABLES = (Book, Position, Order, Fill, Financing, EquitySnapshot, Event, BookedAction)


def agree(case: Case, expected: Lived, found: Lived) -> None:
    """Raises: AssertionError where broker and kernel differ."""
    assert found.purposes == expected.purposes, case.rules
    both = np.array(found.fills).reshape(-1, 6), np.array(expected.fills).reshape(-1, 6)
    np.testing.assert_array_equal(both[0][:, :2], both[1][:, :2])
    np.testing.assert_allclose(both[0][:, 2], both[1][:, 2], rtol=0, atol=QUANTITY)
    np.testing.assert_allclose(both[0][:, 3:], both[1][:, 3:], rtol=0, atol=MONEY)
    np.testing.assert_allclose(found.quantity, expected.quantity, rtol=0, atol=QUANTITY)
    for name in ("equity", "cash", "interest", "borrow"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=0, atol=MONEY, err_msg=name)


def compare(seed: int, n_bars: int) -> Counter:
    """One case on both; what occurred in it."""
    case = make(seed, n_bars)
    expected, name = by_kernel(case), f"case-{seed}"
    agree(case, expected, by_broker(Desk.of(case, name), len(expected.equity)))
    occurred = Counter(expected.purposes)
    occurred["interest"], occurred["borrow"] = int(expected.interest != 0), int(expected.borrow != 0)
    for action in BookedAction.objects.filter(book__name=name):
        occurred[action.kind] += action.quantity_before != 0
    occurred["called"] = Order.objects.filter(book__name=name, reason_code="BOOK_CALLED").count()
    return occurred


def test_a_book_of_several_instruments_is_one_account_of_the_kernel() -> None:
    occurred = sum((compare(seed, 30) for seed in SEEDS), Counter())
    wanted = {"decision", "stop", "trail", "target", "rest", "force", "interest", "borrow", "split", "dividend"}
    assert wanted | {"called"} == {name for name, number in occurred.items() if number > 0}


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_many_books_of_several_instruments_are_accounts_of_the_kernel(block: int) -> None:
    for seed in range(1000 + 10 * block, 1010 + 10 * block):
        compare(seed, 40)


def test_a_crash_half_way_through_every_bar_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    case = make(16, 24)
    expected, desk = by_kernel(case), Desk.of(case, "crashing")
    # Between the fills of a bar and its levels, between the bar and its close, between the closes and the book's value.
    places = ("core.brokers.paper_booking._keep_levels", "tests.several.mark_all", "core.ledger.value_book")

    def live(t: int) -> None:
        before = [list(table.objects.order_by("pk").values()) for table in TABLES]
        with monkeypatch.context() as patch, pytest.raises(RuntimeError), transaction.atomic():
            patch.setattr(places[t % 3], _broken)
            desk.live(t)
        assert [list(table.objects.order_by("pk").values()) for table in TABLES] == before
        desk.live(t)

    assert len(expected.fills) > 10
    agree(case, expected, by_broker(desk, len(expected.equity), live))


def _broken(*_: object, **__: object) -> None:
    raise RuntimeError("the power is gone")
