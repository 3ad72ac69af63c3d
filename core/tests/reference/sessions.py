"""Step 0: what a new session brings before anything trades."""

from core.tests.reference.decisions import in_lots
from core.tests.reference.state import Account, Bar, Position, Rules

RATIO_ERROR = 1e-8  # ratios come as floats: 300 old units times 0.33333333 are 100 new ones


def begin_session(
    account: Account, before: list[Bar], bars: list[Bar], targets: list[float], rules: list[Rules]
) -> list[float]:
    """Splits, dividends, interest and borrow fees. Returns: the targets in today's units."""
    account.interest = account.borrow = 0.0
    new = [bar.day > old.day for old, bar in zip(before, bars, strict=True)]
    targets, overnight = list(targets), [position.quantity for position in account.positions]
    for i, position in enumerate(account.positions):
        if new[i] and bars[i].split != 1:
            account.cash += split(position, bars[i], rules[i])
            targets[i] = whole_lots(targets[i] * bars[i].split, rules[i].lot)
    for i, position in enumerate(account.positions):
        if new[i]:
            account.cash += position.quantity * bars[i].dividend * rules[i].multiplier  # shorts pay
    # Interest on cash after the dividends, once for the account.
    account.interest = interest(account.cash, bars[0].day - before[0].day, rules[0])
    for i in range(len(bars)):
        if new[i]:
            # What was lent over the night was so many old units, worth the last close in old units each.
            account.borrow += borrow_fee(overnight[i], before[i].close, bars[i].day - before[i].day, rules[i])
    account.cash += account.interest - account.borrow
    return targets


def split(position: Position, bar: Bar, rules: Rules) -> float:
    """New units and prices. Returns: cash for fractions of a lot, paid out at the open."""
    exact = position.quantity * bar.split
    whole = whole_lots(exact, rules.lot)
    position.average_price /= bar.split
    position.stop /= bar.split
    position.target /= bar.split
    position.best /= bar.split
    position.settled_at /= bar.split
    position.quantity = whole
    fraction = exact - whole
    if abs(fraction) <= RATIO_ERROR * abs(exact):
        fraction = 0.0
    if whole == 0:
        position.clear_levels()
        position.age, position.rest_waits = 0, False
    paid_for = bar.open - position.settled_at if rules.settled_daily else bar.open
    return fraction * paid_for * rules.multiplier if fraction else 0.0


def whole_lots(exact: float, lot: float) -> float:
    """Toward zero, but a quantity that is whole except for the ratio's own rounding is whole."""
    nearest = round(exact / lot) * lot
    return nearest if abs(exact - nearest) <= RATIO_ERROR * abs(exact) else in_lots(exact, lot)


def interest(cash: float, days: int, rules: Rules) -> float:
    """ACT/360 over the calendar days since the last session."""
    rate = max(0.0, rules.interest_rate - rules.credit_spread) if cash > 0 else rules.interest_rate + rules.debit_spread
    return cash * rate * days / 360


def borrow_fee(quantity: float, close_before: float, days: int, rules: Rules) -> float:
    """What a short position pays to those it borrowed from."""
    return abs(quantity) * close_before * rules.multiplier * rules.borrow_rate * days / 360 if quantity < 0 else 0.0
