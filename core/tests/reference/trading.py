"""One execution: money, quantity, average price and levels (steps 1 and 2)."""

from core.tests.reference.charges import commission
from core.tests.reference.prices import limit_price, market_price
from core.tests.reference.state import Account, Bar, Fill, Rules


def trade(account: Account, i: int, traded: float, reference: float, bar: Bar, rules: Rules, reason: str) -> None:
    """Trade so much of instrument i beside a reference price; a target alone is a limit order."""
    if traded == 0:
        return
    position, limit = account.positions[i], reason == "target"
    price = limit_price(reference, traded, rules) if limit else market_price(reference, traded, bar.volume, rules)
    paid = commission(traded, price, bar, rules, limit=limit)
    slippage = abs(price - reference) * abs(traded) * rules.multiplier
    held = position.quantity
    if rules.settled_daily:
        # The gain up to this price goes to cash; what is held from here on is settled from this price.
        if held:
            account.cash += held * (price - position.settled_at) * rules.multiplier
        position.settled_at = price
    else:
        account.cash -= traded * price * rules.multiplier
    account.cash -= paid
    position.quantity = held + traded
    position.may_trade -= abs(traded)
    account.fills.append(Fill(i, traded, price, paid, slippage, reason))
    after_fill(account, i, held, traded, price, rules)


def after_fill(account: Account, i: int, held: float, traded: float, price: float, rules: Rules) -> None:
    """Average price, and step 2: levels."""
    position = account.positions[i]
    now = position.quantity
    if now == 0:
        position.clear_levels()
        position.age, position.rest_waits = 0, False
        return
    if held * now <= 0:  # opened or reversed
        position.average_price = position.best = price
        position.age = 0
    elif abs(now) > abs(held):  # increased: best is kept
        position.average_price = (abs(held) * position.average_price + abs(traded) * price) / abs(now)
    else:  # only reduced: all levels stay
        return
    side = 1 if now > 0 else -1
    if rules.stop_loss:
        position.stop = position.average_price * (1 - side * rules.stop_loss)
    if rules.take_profit:
        position.target = position.average_price * (1 + side * rules.take_profit)
