"""What the market and the account allow and charge: the settings of the simulation kernel."""

from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import Any, Self

import numpy as np

from core.simulation.fees import load_fees

SCHEDULES = ("ibkr_fixed", "bps", "none")


@dataclass(frozen=True, kw_only=True)
class MarketRules:
    """Rules for one instrument in one account. Raises: ValueError naming the field that makes no sense."""

    half_spread_bps: float = 2.0  # paid on each side, hundredths of a percent of the price
    impact_bps: float = 0.0  # extra slip of an order as large as the bar's volume
    impact_exponent: float = 2.0  # how impact grows with the order's share of volume; 0.5 is the square-root law
    tick_size: float = 0.01  # smallest price step; 0 means prices are not rounded
    lot: float = 1.0  # smallest quantity step
    multiplier: float = 1.0  # money per unit and point: 1 for shares, 20 for NQ
    leverage: float = 1.0  # largest position value as a multiple of equity at the open
    schedule: str = "ibkr_fixed"  # commission schedule: ibkr_fixed, bps or none
    commission_bps: float = 0.0  # commission of the bps schedule, hundredths of a percent of value
    participation: float = 0.0  # largest share of a bar's volume one order may take; 0 means no limit
    max_weight: float = 1.0  # position value as a multiple of equity that a full buy aims at
    short_selling: bool = False  # whether positions below 0 are allowed
    no_trade_band: float = 0.0  # continuous actions: smaller changes of weight place no order
    ruin_fraction: float = 0.1  # equity at or below this share of the start ends the episode
    volatility_half_life: float = 20.0  # bars after which a squared return counts half in the volatility reward

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.type is float:
                _check_number(field.name, getattr(self, field.name))
        for name in ("impact_exponent", "lot", "multiplier", "leverage", "max_weight", "volatility_half_life"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)!r}")
        for name in ("participation", "ruin_fraction"):
            if getattr(self, name) > 1:
                raise ValueError(f"{name} is a share from 0 to 1, got {getattr(self, name)!r}; 5 % is 0.05")
        if self.half_spread_bps >= 10_000:
            raise ValueError(f"half_spread_bps must be below 10000 (the whole price), got {self.half_spread_bps!r}")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, got {self.schedule!r}")
        if type(self.short_selling) is not bool:
            raise ValueError(f"short_selling must be true or false, got {self.short_selling!r}")

    def as_array(self) -> np.ndarray:
        """The rules as the kernel reads them: float64, shape (kernel.N_RULES,), indices kernel.RULE_*."""
        # Imported here so that forms and admin can check rules without loading the compiler.
        from core.simulation import first_kernel as kernel

        vector = np.zeros(kernel.N_RULES)
        for name in _PLAIN_FIELDS:
            vector[getattr(kernel, f"RULE_{name.upper()}")] = float(getattr(self, name))
        vector[kernel.RULE_VOLATILITY_DECAY] = 0.5 ** (1.0 / self.volatility_half_life)
        if self.schedule == "bps":
            vector[kernel.RULE_SCHEDULE] = kernel.SCHEDULE_BPS
        elif self.schedule == "ibkr_fixed":
            schedule = load_fees().commissions[self.schedule]
            vector[kernel.RULE_SCHEDULE] = kernel.SCHEDULE_PER_SHARE
            vector[kernel.RULE_COMMISSION_PER_SHARE] = schedule.per_share
            vector[kernel.RULE_COMMISSION_MINIMUM] = schedule.minimum
            vector[kernel.RULE_COMMISSION_MAXIMUM_FRACTION] = schedule.maximum_fraction
        return vector

    def to_dict(self) -> dict[str, Any]:
        """Plain values by field name, fit for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The reverse of to_dict; absent fields take their defaults. Raises: ValueError for unknown fields."""
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise ValueError(f"unknown market rules {', '.join(unknown)}; remove them or correct their spelling")
        return cls(**values)


_PLAIN_FIELDS = tuple(
    field.name for field in fields(MarketRules) if field.name not in ("schedule", "volatility_half_life")
)


def _check_number(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value < 0:
        raise ValueError(f"{name} must be a finite number of at least 0, got {value!r}")
