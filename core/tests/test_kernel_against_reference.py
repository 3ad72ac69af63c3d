"""The kernel against the plain reference, on random markets with every rule switched on and off.

Both play the whole case on their own; every number of every bar must agree to 1e-9. Sums of money are compared on the
scale of the largest sum in the case (cash, equity or what was traded), because cash is a difference of such sums;
prices on the scale of the largest price; rewards as they are, on the scale of that bar's leverage where it is above 1.
"""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from core.simulation import kernel
from core.simulation.fees import fees_for
from core.simulation.rules import MarketRules
from core.tests.reference import play
from core.tests.reference.charges import fees_on
from core.tests.reference.random_cases import Case, Switches, make, switches

EXACT = 1e-9
AGREE = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=200, **AGREE)
@given(switches())
def test_kernel_agrees_with_the_reference(on):
    agree(make(on))


@pytest.mark.slow
@settings(max_examples=10_000, **AGREE)
@given(switches())
def test_kernel_agrees_with_the_reference_ten_thousand_times(on):
    agree(make(on))


def agree(case: Case) -> None:
    """Raises: AssertionError naming the first bar and column that differ."""
    names = play.columns(len(case.rules))
    with np.errstate(over="ignore"):
        expected, (found, targets) = play.on_reference(case), play.on_kernel(case)
    allowed = tolerance(case, names, expected)
    differ = ~((np.abs(found - expected) <= allowed) | (np.isnan(found) & np.isnan(expected)))
    if differ.any():
        t, column = np.argwhere(differ)[0]
        others = [names[i] for i in np.flatnonzero(differ[t])]
        raise AssertionError(
            f"bar {t + 1}, {names[column]}: kernel {found[t, column]!r}, reference {expected[t, column]!r}; "
            f"differing in this bar: {', '.join(others)}; {case.rules}"
        )
    bars, rules = play.bars_table(case), play.rules_table(case)
    equity, quantity, _, _ = kernel.run_targets(bars, case.start_cash, targets, rules)
    money = EXACT * largest_sum(case, names, expected)
    np.testing.assert_allclose(equity[1:], expected[:, names.index("equity")], rtol=0, atol=money)
    np.testing.assert_array_equal(quantity[-1], [expected[-1, names.index(f"{i}.quantity")] for i in range(len(rules))])


def tolerance(case: Case, names: list[str], expected: np.ndarray) -> np.ndarray:
    """How far each number may be off: (T - 1, columns)."""
    money, price = EXACT * largest_sum(case, names, expected), EXACT * max(b.high for row in case.bars for b in row)
    equity = np.concatenate([[case.start_cash], expected[:-1, names.index("equity")]])
    # What an error of the last bits of the largest sum is as a share of the equity, never more than a thousandth of it.
    scale = np.clip(money / EXACT / np.maximum(np.abs(equity), 1e-300), 1.0, 1e6)
    allowed = np.empty_like(expected)
    for column, name in enumerate(names):
        last = name.split(".")[-1]
        if last in ("cash", "equity", "peak", "commission", "slippage", "interest", "borrow"):
            allowed[:, column] = money
        elif last in ("average_price", "stop", "target", "best", "price"):
            allowed[:, column] = price
        elif last in ("quantity", "traded", "wanted"):
            allowed[:, column] = EXACT
        elif last in play.COMPONENTS or last == "drawdown_now":
            allowed[:, column] = EXACT * scale * np.maximum(1.0, np.abs(expected[:, column]))
        else:  # counts, flags, reasons
            allowed[:, column] = 0.0
    return allowed


def largest_sum(case: Case, names: list[str], expected: np.ndarray) -> float:
    """The largest amount of money in the case: cash, equity, or the value of a position or a trade."""
    prices = np.array([[max(bar.high, before.high) for bar, before in zip(row, old, strict=True)]
                       for row, old in zip(case.bars[1:], case.bars, strict=False)])  # fmt: skip
    held = np.abs(expected[:, [names.index(f"{i}.quantity") for i in range(len(case.rules))]])
    traded = sum(
        np.abs(expected[:, [names.index(f"{i}.{slot}.traded") for i in range(len(case.rules))]]) for slot in play.SLOTS
    )
    value = (held + traded) * prices * [rules.multiplier for rules in case.rules]
    cash, equity = expected[:, names.index("cash")], expected[:, names.index("equity")]
    return float(max(value.max(), np.abs(cash).max(), np.abs(equity).max(), case.start_cash))


def test_the_cases_reach_every_rule():
    """Across cases, every reason of a fill, every flag and every charge must occur, or agreement would mean little."""
    seen = np.zeros(len(play.REASONS))
    flags = dict.fromkeys(("rest", "time_is_up", "forced", "terminated", "interest", "borrow"), 0)
    plain = Switches(
        seed=0, n_bars=40, n_instruments=2, kind="continuous", schedule="ibkr_tiered", trail="atr", spread=True,
        impact=True, tick=True, odd_lots=False, multiplier=False, leverage=True, participation=True, short_selling=True,
        band=True, stop_loss=True, take_profit=True, time_stop=True, margin_call=True, ruin=True, interest=True,
        borrow=True, settled_daily=False, splits=True, dividends=True, gaps=True, no_volume=True, odd_prices=False,
        intraday=False, often=True,
    )  # fmt: skip
    for seed in range(40):
        case = make(replace(plain, seed=seed))
        names, table = play.columns(2), play.on_reference(case)
        for column, name in enumerate(names):
            last = name.split(".")[-1]
            if last == "reason":
                traded = table[:, column - 4] != 0
                seen += np.bincount(table[traded, column].astype(int), minlength=len(seen))
            if last in flags:
                flags[last] += np.count_nonzero(table[:, column])
    assert (seen > 5).all(), dict(zip(play.REASONS, seen, strict=True))
    assert all(count > 5 for count in flags.values()), flags


def test_fees_of_a_date_agree():
    days = [date(2018, 1, 1) + timedelta(days=7 * week) for week in range(450)]
    found = fees_for(np.array(days, dtype="datetime64[D]"))
    np.testing.assert_allclose(found, [fees_on(day) for day in days], rtol=1e-12)


def test_a_contracts_price_is_the_tables_unless_it_is_set():
    # 0.85 + 1.40 a contract and side
    rules = MarketRules(schedule="ibkr_futures").as_array()
    assert kernel.commission(-3.0, 15_000.0, 1e-5, 1e-4, 8.3, False, rules) == pytest.approx(6.75)


def test_the_reference_imports_nothing_of_the_kernel():
    """Only the bridge that plays a case on both may know it, or the two could share a mistake."""
    folder = Path(play.__file__).parent
    knowing = [path.name for path in folder.glob("*.py") if "core.simulation" in path.read_text(encoding="utf-8")]
    assert knowing == ["play.py"]
