"""A readable account around the kernel's arrays, for code that is not in a hurry."""

import math
from dataclasses import dataclass

import numpy as np

from core.simulation import kernel
from core.simulation.bars import bar_table
from core.simulation.rules import MarketRules, rules_table

REASONS = ("decision", "stop", "trail", "target", "rest", "force")  # by the kernel's REASON_ numbers


@dataclass(frozen=True)
class BarFill:
    """One execution inside a bar."""

    traded: float  # signed quantity
    price: float
    commission: float  # regulatory fees included
    slippage: float  # account currency paid beside the reference price, >= 0
    reason: str  # one of REASONS


@dataclass(frozen=True)
class BarResult:
    """What one bar did to the account, in account currency unless said."""

    fills: tuple[BarFill, ...]  # at most the order at the open and one protective close
    rewards: dict[str, float]  # components before weights, by name
    exposure: float  # position value / equity at the close, signed
    interest: float  # received > 0, paid < 0
    borrow: float  # paid for borrowed shares, >= 0
    terminated: bool  # the account was ruined or called, and this bar closed it

    @property
    def traded(self) -> float:
        """Signed quantity of all fills, 0 without one."""
        return sum(fill.traded for fill in self.fills)

    @property
    def price(self) -> float:
        """Price of the first fill, NaN without one."""
        return self.fills[0].price if self.fills else math.nan

    @property
    def commission(self) -> float:
        return sum(fill.commission for fill in self.fills)

    @property
    def slippage(self) -> float:
        return sum(fill.slippage for fill in self.fills)


class SimulatedAccount:
    """One account holding one instrument, advanced bar by bar exactly as the kernel does."""

    def __init__(self, start_cash: float, rules: MarketRules) -> None:
        self.rules = rules
        self.table = rules_table(rules)
        self.account = kernel.new_account(float(start_cash))
        self.positions = kernel.new_positions(1)
        self.last_bar: np.ndarray | None = None  # (1, N_BAR), None before the first

    @property
    def cash(self) -> float:
        return float(self.account[kernel.CASH])

    @property
    def quantity(self) -> float:
        return float(self.positions[0, kernel.QUANTITY])

    @property
    def average_price(self) -> float:
        return float(self.positions[0, kernel.AVERAGE_PRICE])

    @property
    def age(self) -> float:
        """Closes seen since the position was opened or reversed, 0 when flat."""
        return float(self.positions[0, kernel.AGE])

    @property
    def stop(self) -> float:
        """The stop level, NaN for none."""
        return float(self.positions[0, kernel.STOP])

    @property
    def target(self) -> float:
        """The take-profit level, NaN for none."""
        return float(self.positions[0, kernel.TARGET])

    @property
    def best(self) -> float:
        """The best price since the entry, from which a trail hangs; NaN when flat."""
        return float(self.positions[0, kernel.BEST])

    @property
    def equity(self) -> float:
        return float(self.account[kernel.EQUITY])

    @property
    def drawdown(self) -> float:
        return float(self.account[kernel.DRAWDOWN])

    @property
    def forced(self) -> bool:
        """Whether the next open closes the position whatever is decided."""
        return bool(self.account[kernel.PENDING_FORCE] or self.positions[0, kernel.FORCED_FLAT])

    @property
    def terminated(self) -> bool:
        return bool(self.account[kernel.TERMINATED])

    def target_for_weight(self, action: float, close: float) -> float:
        """Target quantity of a continuous action at this close."""
        return self._target(kernel.CONTINUOUS, float(action), close)

    def target_for_choice(self, choice: int, close: float) -> float:
        """Target quantity of one of the three actions at this close."""
        return self._target(kernel.CHOICE, float(choice), close)

    def target_for_steps(self, step: int, close: float) -> float:
        """Target quantity of one of the nine actions at this close."""
        return self._target(kernel.STEPS, float(step), close)

    def _target(self, kind: int, action: float, close: float) -> float:
        return float(kernel.target_of(kind, action, self.positions[0], self.account, float(close), self.table[0]))

    def step(
        self,
        open_: float,
        close: float,
        volume: float,
        target: float,
        fees: np.ndarray | None = None,
        *,
        high: float | None = None,
        low: float | None = None,
        split: float = 1.0,
        dividend: float = 0.0,
        days: int | None = None,
        atr: float = math.nan,
    ) -> BarResult:
        """One bar with the target decided at the previous close, in that bar's units.

        fees: shape (3,) from ``fees_for``, or None; high, low: as ``bar_table`` has them when left out;
        split: new units for one old, before the bar's open; dividend: account currency a unit held then;
        days: calendar days since the last bar's session, 0 within a session; left out: 1, and 0 for the first bar;
        atr: average true range known at this bar's close.
        """
        if math.isnan(target):
            raise ValueError("target is NaN: pass the held quantity for no order")
        row = np.zeros(3) if fees is None else np.asarray(fees, dtype=float)
        if row.shape != (3,):
            raise ValueError(f"fees has shape {row.shape}, expected (3,): pass one row of fees_for(times)")
        bar = bar_table(
            [open_],
            [close],
            [volume],
            row[None],
            high=None if high is None else [high],
            low=None if low is None else [low],
            atr=[atr],
            actions=[[split, dividend]],
        )[0]
        out, fills = np.empty(kernel.N_OUT), np.empty((1, 2, kernel.N_FILL))
        before = self._follow(bar, days)
        targets = np.array([float(target)])
        kernel.advance(self.account, self.positions, before, bar, targets, self.table, out, fills)
        self.last_bar = bar
        return BarResult(
            fills=tuple(_fill(one) for one in fills[0] if one[kernel.FILL_TRADED] != 0.0),
            rewards={name: float(out[index]) for name, index in kernel.REWARD_COMPONENTS.items()},
            exposure=float(out[kernel.OUT_EXPOSURE]),
            interest=float(out[kernel.OUT_INTEREST]),
            borrow=float(out[kernel.OUT_BORROW]),
            terminated=self.terminated,
        )

    def _follow(self, bar: np.ndarray, days: int | None) -> np.ndarray:
        """Date ``bar`` after the last one. Returns: the bar before it."""
        if self.last_bar is None:
            before = bar.copy()
            before[0, kernel.BAR_CLOSE], before[0, kernel.BAR_ATR] = bar[0, kernel.BAR_OPEN], np.nan
            bar[0, kernel.BAR_DAY] = before[0, kernel.BAR_DAY] + (days or 0)
            return before
        bar[0, kernel.BAR_DAY] = self.last_bar[0, kernel.BAR_DAY] + (1 if days is None else days)
        return self.last_bar


def _fill(row: np.ndarray) -> BarFill:
    return BarFill(
        traded=float(row[kernel.FILL_TRADED]),
        price=float(row[kernel.FILL_PRICE]),
        commission=float(row[kernel.FILL_COMMISSION]),
        slippage=float(row[kernel.FILL_SLIPPAGE]),
        reason=REASONS[int(row[kernel.FILL_REASON])],
    )
