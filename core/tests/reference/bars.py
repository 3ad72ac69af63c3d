"""One whole bar: steps 0 to 7 in their order."""

from core.tests.reference.opening import trade_at_open
from core.tests.reference.protection import protect
from core.tests.reference.rewards import rewards_of_bar
from core.tests.reference.sessions import begin_session
from core.tests.reference.state import Account, Bar, Rules


def advance(
    account: Account, before: list[Bar], bars: list[Bar], targets: list[float], rules: list[Rules]
) -> dict[str, float]:
    """Carry out in `bars` what was decided at the close of `before`. Returns: the reward components of the bar."""
    account.fills = []
    forced = account.forced
    equity_before, drawdown_before = account.equity, account.drawdown
    for position, bar in zip(account.positions, before, strict=True):
        position.settled_at = bar.close
    targets = begin_session(account, before, bars, targets, rules)  # step 0
    trade_at_open(account, bars, targets, rules)  # steps 1 and 2
    for i in range(len(bars)):
        protect(account, i, before[i], bars[i], rules[i])  # steps 3 to 5
    mark(account, bars, rules)  # step 6
    components = rewards_of_bar(account, equity_before, drawdown_before, bars, rules)
    force(account, bars, rules)  # step 7
    account.terminated = account.terminated or forced
    return components


def mark(account: Account, bars: list[Bar], rules: list[Rules]) -> None:
    """Step 6: equity at the close, peak, drawdown and the positions' age."""
    value = 0.0
    for position, bar, rule in zip(account.positions, bars, rules, strict=True):
        if position.quantity == 0:
            continue
        position.age += 1
        if rule.settled_daily:
            account.cash += position.quantity * (bar.close - position.settled_at) * rule.multiplier
            position.settled_at = bar.close
        else:
            value += position.quantity * bar.close * rule.multiplier
    account.equity = account.cash + value
    account.peak = max(account.peak, account.equity)
    account.drawdown = 1 - account.equity / account.peak


def force(account: Account, bars: list[Bar], rules: list[Rules]) -> None:
    """Step 7: ruin, margin call and time stop, which all act at the next open. Who is forced stays so."""
    worth = zip(account.positions, bars, rules, strict=True)
    gross = sum(abs(position.quantity) * bar.close * rule.multiplier for position, bar, rule in worth)
    ruined = account.equity <= max(0.0, rules[0].ruin_fraction * account.start_equity)
    called = rules[0].margin_call > 0 and gross > rules[0].margin_call * account.equity
    account.forced = account.forced or ruined or called
    for position, rule in zip(account.positions, rules, strict=True):
        position.time_is_up = 0 < rule.time_stop <= position.age and position.quantity != 0
