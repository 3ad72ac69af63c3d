"""The page's part "Rewards": every component of one bar, before weights. Consistency belongs to the environment."""

from math import log1p, sqrt

from core.tests.reference.state import Account, Bar, Rules


def rewards_of_bar(
    account: Account, equity_before: float, drawdown_before: float, bars: list[Bar], rules: list[Rules]
) -> dict[str, float]:
    """Components by name; moves the account's running moments on. An account worth nothing earns nothing."""
    cost = sum(fill.commission + fill.slippage for fill in account.fills)
    earned = account.equity / equity_before - 1 if equity_before > 0 else 0.0
    decay = 0.5 ** (1 / rules[0].volatility_half_life)
    account.variance = decay * account.variance + (1 - decay) * earned**2
    components = {
        "net_return": earned,
        "log_return": log1p(max(earned, -1 + 1e-6)),
        "drawdown": -max(0.0, account.drawdown - drawdown_before),
        "volatility": -sqrt(account.variance),
        "cost": -cost / equity_before if equity_before > 0 else 0.0,
        "differential_sharpe": differential_sharpe(account, earned),
        "differential_downside": differential_downside(account, earned),
        "holding": holding(account, bars, rules),
    }
    rate = rules[0].sharpe_rate
    account.mean += rate * (earned - account.mean)
    account.mean_square += rate * (earned**2 - account.mean_square)
    account.downside_square += rate * (min(earned, 0.0) ** 2 - account.downside_square)
    return components


def differential_sharpe(account: Account, earned: float) -> float:
    """Moody and Saffell 1998, with the moments as they were before this bar."""
    a, b = account.mean, account.mean_square
    spread = b - a * a
    if spread <= 1e-12:
        return 0.0
    return (b * (earned - a) - a * (earned**2 - b) / 2) / spread**1.5


def differential_downside(account: Account, earned: float) -> float:
    """Moody and Saffell 2001: the downside deviation ratio's."""
    a, square = account.mean, account.downside_square
    if square <= 1e-12:
        return 0.0
    deviation = sqrt(square)
    if earned > 0:
        return (earned - a / 2) / deviation
    return (square * (earned - a / 2) - a * earned**2 / 2) / deviation**3


def holding(account: Account, bars: list[Bar], rules: list[Rules]) -> float:
    """Age in bars times the size of the weight, over all positions."""
    if account.equity <= 0:
        return 0.0
    worth = zip(account.positions, bars, rules, strict=True)
    return -sum(p.age * abs(p.quantity) * bar.close * rule.multiplier / account.equity for p, bar, rule in worth)
