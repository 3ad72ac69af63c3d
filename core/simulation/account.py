"""A readable account around the kernel's state vector, for code that is not in a hurry."""

from dataclasses import dataclass

import numpy as np

from core.simulation import first_kernel as kernel
from core.simulation.rules import MarketRules


@dataclass(frozen=True)
class BarResult:
    """What one bar did to the account, in account currency unless said."""

    traded: float  # signed quantity, 0 without a fill
    price: float  # of the fill, NaN without one
    commission: float  # regulatory fees included
    slippage: float  # paid beside the open, >= 0
    rewards: dict[str, float]  # components before weights, by name
    exposure: float  # position value / equity at the close, signed
    terminated: bool  # the account was ruined and this bar closed it


class SimulatedAccount:
    """One account holding one instrument, advanced bar by bar exactly as the kernel does."""

    def __init__(self, start_cash: float, rules: MarketRules) -> None:
        self.rules = rules
        self.vector = rules.as_array()
        self.state = kernel.new_state(float(start_cash))

    @property
    def cash(self) -> float:
        return float(self.state[kernel.CASH])

    @property
    def quantity(self) -> float:
        return float(self.state[kernel.QUANTITY])

    @property
    def average_price(self) -> float:
        return float(self.state[kernel.AVERAGE_PRICE])

    @property
    def equity(self) -> float:
        return float(self.state[kernel.EQUITY])

    @property
    def drawdown(self) -> float:
        return float(self.state[kernel.DRAWDOWN])

    @property
    def terminated(self) -> bool:
        return bool(self.state[kernel.TERMINATED])

    def target_for_weight(self, action: float, close: float) -> float:
        """Target quantity of a continuous action at this close."""
        return float(kernel.target_for_weight(float(action), self.quantity, self.equity, float(close), self.vector))

    def target_for_choice(self, choice: int, close: float) -> float:
        """Target quantity of one of the three actions at this close."""
        return float(kernel.target_for_choice(int(choice), self.quantity, self.equity, float(close), self.vector))

    def step(
        self,
        open_: float,
        close: float,
        volume: float,
        target: float,
        fees: np.ndarray | None = None,
        *,
        split: float = 1.0,
        dividend: float = 0.0,
    ) -> BarResult:
        """One bar with the target decided at the previous close; fees: shape (3,) from ``fees_for``, or None.

        split: new units for one old, before the bar's open; dividend: account currency a unit held then.
        """
        row = np.zeros(kernel.N_FEES) if fees is None else np.asarray(fees, dtype=float)
        if row.shape != (kernel.N_FEES,):
            raise ValueError(f"fees has shape {row.shape}, expected (3,): pass one row of fees_for(times)")
        action = np.array([split, dividend], dtype=float)
        target = kernel.begin_session(self.state, float(open_), action, float(target), self.vector)
        out = np.empty(kernel.N_OUT)
        kernel.step_bar(self.state, float(open_), float(close), float(volume), row, float(target), self.vector, out)
        return BarResult(
            traded=float(out[kernel.OUT_TRADED]),
            price=float(out[kernel.OUT_PRICE]),
            commission=float(out[kernel.OUT_COMMISSION]),
            slippage=float(out[kernel.OUT_SLIPPAGE]),
            rewards={name: float(out[index]) for name, index in kernel.REWARD_COMPONENTS.items()},
            exposure=float(out[kernel.OUT_EXPOSURE]),
            terminated=self.terminated,
        )
