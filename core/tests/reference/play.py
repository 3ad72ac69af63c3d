"""A whole case on the reference and on the kernel, as two tables with the same columns."""

from dataclasses import asdict

import numpy as np

from core.simulation import kernel
from core.simulation.rules import MarketRules
from core.tests.reference.bars import advance
from core.tests.reference.decisions import continuous_action, nine_actions, three_actions
from core.tests.reference.random_cases import Case
from core.tests.reference.state import Account, Bar, Fill, Position, Rules

COMPONENTS = (
    "net_return", "log_return", "drawdown", "volatility", "cost", "differential_sharpe", "differential_downside",
    "holding",
)  # fmt: skip
REASONS = ("decision", "stop", "trail", "target", "rest", "force")
MONEY = ("cash", "equity", "peak", "commission", "slippage", "interest", "borrow")
STATE = ("drawdown_now", "forced", "terminated")
POSITION = ("quantity", "average_price", "stop", "target", "best", "age", "rest", "time_is_up")
FILL = ("traded", "price", "commission", "slippage", "reason")
SLOTS = ("open", "protective")


def columns(n_instruments: int) -> list[str]:
    """Names of the tables' columns."""
    names = [*MONEY, *STATE, *COMPONENTS]
    for i in range(n_instruments):
        names += [f"{i}.wanted", *(f"{i}.{name}" for name in POSITION)]
        names += [f"{i}.{slot}.{name}" for slot in SLOTS for name in FILL]
    return names


def on_reference(case: Case) -> np.ndarray:
    """One row for each bar from the second on."""
    account, rows = Account.start(case.start_cash, len(case.rules)), []
    for t in range(1, len(case.bars)):
        before, bars = case.bars[t - 1], case.bars[t]
        targets = [
            decide(case.kind, action, position.quantity, account.equity, bar.close, rule)
            for action, position, bar, rule in zip(
                case.actions[t - 1], account.positions, before, case.rules, strict=True
            )
        ]
        components = advance(account, before, bars, targets, case.rules)
        row = [account.cash, account.equity, account.peak]
        row += [sum(fill.commission for fill in account.fills), sum(fill.slippage for fill in account.fills)]
        row += [account.interest, account.borrow, account.drawdown, account.forced, account.terminated]
        row += [components[name] for name in COMPONENTS]
        for i, position in enumerate(account.positions):
            row += [targets[i], *held(position), *filled([fill for fill in account.fills if fill.instrument == i])]
        rows.append(row)
    return np.array(rows, dtype=float)


def decide(kind: str, action: float, quantity: float, equity: float, close: float, rules: Rules) -> float:
    """Target quantity; NaN is no decision."""
    if action != action:
        return quantity
    if kind == "choice":
        return three_actions(int(action), quantity, equity, close, rules)
    if kind == "steps":
        return nine_actions(int(action), quantity, equity, close, rules)
    return continuous_action(action, quantity, equity, close, rules)


def held(position: Position) -> list[float]:
    return [
        position.quantity, position.average_price, position.stop, position.target, position.best, position.age,
        position.rest_waits, position.time_is_up,
    ]  # fmt: skip


def filled(fills: list[Fill]) -> list[float]:
    """The order at the open, then the protective close; zeros for none."""
    slots = [[0.0] * len(FILL), [0.0] * len(FILL)]
    for fill in fills:
        protective = fill.reason in ("stop", "trail", "target")
        slots[protective] = [fill.traded, fill.price, fill.commission, fill.slippage, REASONS.index(fill.reason)]
    return slots[0] + slots[1]


def rules_table(case: Case) -> np.ndarray:
    """The rules as the kernel reads them: (I, N_RULES)."""
    return np.stack([MarketRules(**asdict(rules)).as_array() for rules in case.rules])


def bars_table(case: Case) -> np.ndarray:
    """The bars as the kernel reads them: (T, I, N_BAR). The reference's Bar has the same order of fields."""
    return np.array([[numbers(bar) for bar in row] for row in case.bars])


def numbers(bar: Bar) -> tuple[float, ...]:
    return tuple(vars(bar).values())


def on_kernel(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """The same table by the kernel's advance, and the targets it carried out: (T, I)."""
    bars, rules = bars_table(case), rules_table(case)
    n_bars, number = bars.shape[:2]
    account, positions = kernel.new_account(case.start_cash), kernel.new_positions(number)
    out, fills, targets = (
        np.zeros(kernel.N_OUT),
        np.zeros((number, 2, kernel.N_FILL)),
        np.full((n_bars, number), np.nan),
    )
    kind = {"choice": kernel.CHOICE, "steps": kernel.STEPS, "continuous": kernel.CONTINUOUS}[case.kind]
    rows = []
    for t in range(1, n_bars):
        for i, action in enumerate(case.actions[t - 1]):
            close = bars[t - 1, i, kernel.BAR_CLOSE]
            targets[t - 1, i] = (
                positions[i, kernel.QUANTITY]
                if action != action
                else kernel.target_of(kind, action, positions[i], account, close, rules[i])
            )
        kernel.advance(account, positions, bars[t - 1], bars[t], targets[t - 1], rules, out, fills)
        rows.append(np.concatenate([account, out, positions.ravel(), fills.ravel(), targets[t - 1]]))
    return arranged(np.array(rows), number), targets


def arranged(rows: np.ndarray, number: int) -> np.ndarray:
    """The kernel's raw numbers in the order of `columns`."""
    account, rest = np.split(rows, [kernel.N_ACCOUNT], axis=1)
    out, rest = np.split(rest, [kernel.N_OUT], axis=1)
    positions, rest = np.split(rest, [number * kernel.N_POSITION], axis=1)
    fills, wanted = np.split(rest, [number * 2 * kernel.N_FILL], axis=1)
    money = [kernel.OUT_COMMISSION, kernel.OUT_SLIPPAGE, kernel.OUT_INTEREST, kernel.OUT_BORROW]
    parts = [account[:, [kernel.CASH, kernel.EQUITY, kernel.PEAK]], out[:, money]]
    parts.append(account[:, [kernel.DRAWDOWN, kernel.PENDING_FORCE, kernel.TERMINATED]])
    parts.append(out[:, [kernel.REWARD_COMPONENTS[name] for name in COMPONENTS]])
    where = [
        kernel.QUANTITY, kernel.AVERAGE_PRICE, kernel.STOP, kernel.TARGET, kernel.BEST, kernel.AGE, kernel.REST,
        kernel.FORCED_FLAT,
    ]  # fmt: skip
    positions = positions.reshape(len(rows), number, kernel.N_POSITION)
    fills = fills.reshape(len(rows), number, 2, kernel.N_FILL)
    fills = np.where(fills[..., [kernel.FILL_TRADED]] == 0, 0.0, fills)
    for i in range(number):
        parts += [wanted[:, [i]], positions[:, i, where], fills[:, i].reshape(len(rows), -1)]
    return np.concatenate(parts, axis=1)
