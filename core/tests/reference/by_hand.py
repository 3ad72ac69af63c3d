"""What tests that work a bar by hand have in common."""

from dataclasses import replace

import pytest

from core.tests.reference.bars import advance
from core.tests.reference.state import Account, Bar, Rules

SPREAD = Rules(half_spread_bps=2.0, tick_size=0.01)


def bar(open_: float, high: float | None = None, low: float | None = None, close: float | None = None, **more) -> Bar:
    """A bar; what is not said is the open."""
    close = open_ if close is None else close
    high, low = max(open_, close) if high is None else high, min(open_, close) if low is None else low
    return Bar(open_, high, low, close, **more)


def holding(quantity: float, price: float, rules: Rules, cash: float = 10_000.0) -> Account:
    """An account that holds so much, bought at this price free of costs, its levels set as at the purchase."""
    account = Account.start(cash)
    free = replace(rules, half_spread_bps=0.0, schedule="none", leverage=100.0, short_selling=True, participation=0.0)
    advance(account, [bar(price)], [bar(price)], [quantity], [free])
    account.start_equity = account.peak = cash
    return account


def step(account: Account, before: Bar, now: Bar, rules: Rules, target: float | None = None) -> dict[str, float]:
    """One bar of one instrument; without a target the decision is to hold."""
    return advance(account, [before], [now], [account.positions[0].quantity if target is None else target], [rules])


def fills(account: Account) -> list[tuple[float, float, str]]:
    return [(fill.traded, pytest.approx(fill.price, abs=1e-9), fill.reason) for fill in account.fills]
