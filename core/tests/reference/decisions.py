"""The page's part "Size", first half: from what a policy says at a close to a target quantity."""

from math import trunc

from core.tests.reference.state import Rules


def in_lots(quantity: float, lot: float) -> float:
    """Toward zero."""
    return trunc(quantity / lot) * lot


def quantity_of_weight(weight: float, equity: float, close: float, rules: Rules) -> float:
    if equity <= 0:
        return 0.0
    return in_lots(weight * equity / (close * rules.multiplier), rules.lot)


def three_actions(action: int, quantity: float, equity: float, close: float, rules: Rules) -> float:
    """0 hold, 1 buy, 2 sell."""
    if action == 0:
        return quantity
    if action == 1:
        return quantity_of_weight(rules.max_weight, equity, close, rules)
    if rules.short_selling:
        return quantity_of_weight(-rules.max_weight, equity, close, rules)
    return 0.0


def nine_actions(action: int, quantity: float, equity: float, close: float, rules: Rules) -> float:
    """0 hold, 1 to 4 buy and 5 to 8 sell 25, 50, 75, 100 % of the way."""
    if action == 0:
        return quantity
    share = (0.25, 0.50, 0.75, 1.00)[(action - 1) % 4]
    goal = three_actions(1 if action <= 4 else 2, quantity, equity, close, rules)
    return quantity + in_lots(share * (goal - quantity), rules.lot)


def continuous_action(action: float, quantity: float, equity: float, close: float, rules: Rules) -> float:
    """A weight from -1 (0 without short selling) to 1 of the largest; small changes place no order."""
    lowest = -1.0 if rules.short_selling else 0.0
    weight = max(lowest, min(1.0, action)) * rules.max_weight
    if weight == 0 or equity <= 0:
        return 0.0
    current = quantity * close * rules.multiplier / equity
    if abs(weight - current) < rules.no_trade_band:
        return quantity
    return quantity_of_weight(weight, equity, close, rules)
