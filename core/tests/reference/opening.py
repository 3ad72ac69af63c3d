"""Step 1: orders at the open, within leverage and volume."""

from math import floor, inf

from core.tests.reference.state import Account, Bar, Rules
from core.tests.reference.trading import trade


def trade_at_open(account: Account, bars: list[Bar], targets: list[float], rules: list[Rules]) -> None:
    """Rests of protective closes come first, then all orders that reduce, then the others, in the account's order."""
    orders = []
    for i, position in enumerate(account.positions):
        position.may_trade = volume_limit(bars[i], rules[i])
        position.protected = position.rest_waits
        orders.append((i, *order_of(account, i, targets[i], rules[i])))
    orders.sort(key=lambda order: turn(account.positions[order[0]].quantity, *order[1:]))  # a stable sort
    for i, target, reason in orders:
        allowed = within_leverage(account, i, target, bars, rules)
        traded = within_volume(allowed - account.positions[i].quantity, account.positions[i].may_trade)
        trade(account, i, traded, bars[i].open, bars[i], rules[i], reason)


def order_of(account: Account, i: int, target: float, rules: Rules) -> tuple[float, str]:
    """A waiting rest comes before any decision, which is dropped; so is one that force overrules."""
    position = account.positions[i]
    if position.rest_waits:
        return 0.0, "rest"
    if account.forced or position.time_is_up:
        return 0.0, "force"
    if not rules.short_selling:
        target = max(target, 0.0)
    return target, "decision"


def turn(quantity: float, target: float, reason: str) -> int:
    """Which orders go first at the open."""
    if reason == "rest":
        return 0
    return 1 if reduces(quantity, target) else 2


def reduces(quantity: float, target: float) -> bool:
    """Toward flat and not through it; a reversal opens something."""
    return quantity * target >= 0 and abs(target) < abs(quantity)


def within_leverage(account: Account, i: int, target: float, bars: list[Bar], rules: list[Rules]) -> float:
    """What the account can carry of the target; a position that is too large already is not cut by this."""
    held = account.positions[i].quantity
    if target == held or reduces(held, target):
        return target
    room = rules[0].leverage * equity_at_open(account, bars, rules)
    for j, other in enumerate(account.positions):
        if j != i:
            room -= abs(other.quantity) * bars[j].open * rules[j].multiplier
    side = 1 if target > held else -1
    half_spread = rules[i].half_spread_bps / 1e4
    price = bars[i].open * (1 + side * half_spread)
    most = max(0.0, floor(room / (price * rules[i].multiplier) / rules[i].lot) * rules[i].lot)
    if side > 0:
        return min(target, max(most, held))
    return max(target, min(-most, held))


def equity_at_open(account: Account, bars: list[Bar], rules: list[Rules]) -> float:
    """Cash and positions at their opens; of a daily-settled future only what is not in cash yet."""
    equity = account.cash
    for position, bar, rule in zip(account.positions, bars, rules, strict=True):
        if position.quantity:
            paid_up = position.settled_at if rule.settled_daily else 0.0
            equity += position.quantity * (bar.open - paid_up) * rule.multiplier
    return equity


def volume_limit(bar: Bar, rules: Rules) -> float:
    """How much may trade in the bar; participation 0 means no limit."""
    if rules.participation == 0:
        return inf
    return floor(rules.participation * bar.volume / rules.lot) * rules.lot


def within_volume(traded: float, most: float) -> float:
    return max(-most, min(most, traded))
