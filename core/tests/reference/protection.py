"""Steps 3 to 5: stop, trail and target, and how the trail follows."""

from math import isnan

from core.tests.reference.opening import within_volume
from core.tests.reference.state import Account, Bar, Position, Rules
from core.tests.reference.trading import trade


def protect(account: Account, i: int, before: Bar, bar: Bar, rules: Rules) -> None:
    """Close the position where the bar touches a level, the worse first; then let the trail follow."""
    position = account.positions[i]
    if position.quantity and not position.protected:
        found = touched(position, before, bar, rules)
        if found:
            reference, reason = found
            traded = within_volume(-position.quantity, position.may_trade)
            trade(account, i, traded, reference, bar, rules, reason)
            position.protected = True
            position.rest_waits = position.quantity != 0
    follow(position, bar)


def touched(position: Position, before: Bar, bar: Bar, rules: Rules) -> tuple[float, str] | None:
    """Reference price and reason of a closing, if there is one."""
    long = position.quantity > 0
    level, reason = stop_level(position, before, bar, rules)
    target = position.target
    # Step 3, gap: the open lies at or beyond a level. Comparisons with a missing level (NaN) are false.
    if bar.open <= level if long else bar.open >= level:
        return bar.open, reason
    if bar.open >= target if long else bar.open <= target:
        return bar.open, "target"
    # Step 4, inside: worse first.
    if bar.low <= level if long else bar.high >= level:
        return level, reason
    if bar.high >= target if long else bar.low <= target:
        return target, "target"
    return None


def stop_level(position: Position, before: Bar, bar: Bar, rules: Rules) -> tuple[float, str]:
    """Stop or trail, whichever is nearer the market."""
    stop, trail = position.stop, trail_level(position, before, bar, rules)
    if isnan(trail):
        return stop, "stop"
    if isnan(stop):
        return trail, "trail"
    nearer = trail > stop if position.quantity > 0 else trail < stop
    return (trail, "trail") if nearer else (stop, "stop")


def trail_level(position: Position, before: Bar, bar: Bar, rules: Rules) -> float:
    """Knows bars before this one, and the own fill, only. The last ATR is put into today's units."""
    side = 1 if position.quantity > 0 else -1
    if rules.trail_fraction:
        return position.best * (1 - side * rules.trail_fraction)
    if rules.trail_atr:
        atr = before.atr / bar.split if bar.day > before.day else before.atr
        return position.best - side * rules.trail_atr * atr
    return float("nan")


def follow(position: Position, bar: Bar) -> None:
    """Step 5: the best price so far, if the position is still open and not merely waiting for its rest to trade."""
    if position.rest_waits:
        return
    if position.quantity > 0:
        position.best = max(position.best, bar.high)
    elif position.quantity < 0:
        position.best = min(position.best, bar.low)
