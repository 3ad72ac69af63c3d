"""What the market and the account allow and charge: the settings of the simulation kernel."""

from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import Any, Self

import numpy as np

from core.simulation.fees import FeeTable, load_fees

SCHEDULES = ("ibkr_fixed", "ibkr_tiered", "ibkr_futures", "bps", "none")

_ABOVE_ZERO = ("impact_exponent", "lot", "multiplier", "leverage", "max_weight", "volatility_half_life")
_SHARES_TO_ONE = ("participation", "ruin_fraction", "sharpe_rate")
_SHARES_BELOW_ONE = ("stop_loss", "trail_fraction")


@dataclass(frozen=True, kw_only=True)
class MarketRules:
    """Rules for one instrument in one account. Raises: ValueError naming the field that makes no sense.

    Where an account holds several instruments, what concerns the whole account is read from the first one's rules:
    leverage, ruin_fraction, margin_call, interest_rate and its spreads, volatility_half_life, sharpe_rate.
    """

    half_spread_bps: float = 2.0  # paid on each side, hundredths of a percent of the price
    impact_bps: float = 0.0  # extra slip of an order as large as the bar's volume
    impact_exponent: float = 2.0  # how impact grows with the order's share of volume; 0.5 is the square-root law
    tick_size: float = 0.01  # smallest price step; 0 means prices are not rounded
    lot: float = 1.0  # smallest quantity step
    multiplier: float = 1.0  # money per unit and point: 1 for shares, 20 for NQ
    leverage: float = 1.0  # largest position value as a multiple of equity at the open
    schedule: str = "ibkr_fixed"  # commission: ibkr_fixed, ibkr_tiered, ibkr_futures, bps or none
    commission_bps: float = 0.0  # commission of the bps schedule, hundredths of a percent of value
    per_contract: float = 0.0  # whole commission of ibkr_futures per contract and side; 0 takes the fee table's
    participation: float = 0.0  # largest share of a bar's volume that may trade; 0 means no limit
    max_weight: float = 1.0  # position value as a multiple of equity that a full buy aims at
    short_selling: bool = False  # whether positions below 0 are allowed
    no_trade_band: float = 0.0  # continuous actions: smaller changes of weight place no order
    stop_loss: float = 0.0  # closes a position this share beyond its average price; 0 means no stop
    take_profit: float = 0.0  # closes a position with this share gained; 0 means no target
    trail_fraction: float = 0.0  # closes a position this share below its best price; 0 means no trail
    trail_atr: float = 0.0  # likewise, so many average true ranges below it; 0 means no trail
    time_stop: float = 0.0  # bars after which a position is closed; 0 means never
    ruin_fraction: float = 0.1  # equity at or below this share of the start ends the episode
    margin_call: float = 0.0  # gross position value as a multiple of equity that ends the episode; 0 means never
    interest_rate: float = 0.0  # a year's interest on cash, before the spreads
    credit_spread: float = 0.0  # what the broker keeps of it on cash above 0
    debit_spread: float = 0.0  # what the broker adds to it on cash below 0
    borrow_rate: float = 0.0  # a year's fee on the value of borrowed shares
    settled_daily: bool = False  # futures: gains go to cash at every close, positions cost no cash
    volatility_half_life: float = 20.0  # bars after which a squared return counts half in the volatility reward
    sharpe_rate: float = 0.0  # weight of the newest return in the differential ratios; 0 switches them off

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.type is float:
                _check_number(field.name, getattr(self, field.name))
            elif field.type is bool and type(getattr(self, field.name)) is not bool:
                raise ValueError(f"{field.name} must be true or false, got {getattr(self, field.name)!r}")
        for name in _ABOVE_ZERO:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)!r}")
        for name in _SHARES_TO_ONE:
            if getattr(self, name) > 1:
                raise ValueError(f"{name} is a share from 0 to 1, got {getattr(self, name)!r}; 5 % is 0.05")
        for name in _SHARES_BELOW_ONE:
            if getattr(self, name) >= 1:
                raise ValueError(f"{name} is a share of the price below 1, got {getattr(self, name)!r}; 5 % is 0.05")
        if self.half_spread_bps >= 10_000:
            raise ValueError(f"half_spread_bps must be below 10000 (the whole price), got {self.half_spread_bps!r}")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, got {self.schedule!r}")
        if self.trail_fraction > 0 and self.trail_atr > 0:
            raise ValueError(
                f"trail_fraction ({self.trail_fraction!r}) and trail_atr ({self.trail_atr!r}) are two ways to set one "
                "trail: set one of them to 0"
            )

    def as_array(self) -> np.ndarray:
        """The rules as the kernel reads them: float64, shape (kernel.N_RULES,), indices kernel.RULE_*."""
        # Imported here because the package around the layout loads the compiler, which forms and admin do without.
        from core.simulation.kernel import layout

        vector = np.zeros(layout.N_RULES)
        for name in _PLAIN_FIELDS:
            vector[getattr(layout, f"RULE_{name.upper()}")] = float(getattr(self, name))
        vector[layout.RULE_VOLATILITY_DECAY] = 0.5 ** (1.0 / self.volatility_half_life)
        for name, value in self._commission(load_fees()).items():
            vector[getattr(layout, name)] = value
        return vector

    def _commission(self, table: FeeTable) -> dict[str, float]:
        """The commission schedule by the names of the kernel's columns."""
        from core.simulation.kernel import layout

        if self.schedule == "none":
            return {"RULE_SCHEDULE": layout.SCHEDULE_NONE}
        if self.schedule == "bps":
            return {"RULE_SCHEDULE": layout.SCHEDULE_BPS}
        if self.schedule == "ibkr_futures":
            price = self.per_contract or table.contracts[self.schedule].per_contract
            return {"RULE_SCHEDULE": layout.SCHEDULE_PER_CONTRACT, "RULE_COMMISSION_PER_UNIT": price}
        shares = table.commissions[self.schedule]
        tiered = self.schedule == "ibkr_tiered"
        return {
            "RULE_SCHEDULE": layout.SCHEDULE_TIERED if tiered else layout.SCHEDULE_PER_SHARE,
            "RULE_COMMISSION_PER_UNIT": shares.per_share,
            "RULE_COMMISSION_MINIMUM": shares.minimum,
            "RULE_COMMISSION_MAXIMUM_FRACTION": shares.maximum_fraction,
            "RULE_EXCHANGE_PER_SHARE": shares.exchange_per_share,
            "RULE_CLEARING_PER_SHARE": shares.clearing_per_share,
            "RULE_CLEARING_MAXIMUM_FRACTION": shares.clearing_maximum_fraction,
            "RULE_PASS_THROUGH": shares.pass_through,
        }

    @property
    def protects(self) -> bool:
        """Whether a stop, target or trail is set."""
        return any((self.stop_loss, self.take_profit, self.trail_fraction, self.trail_atr))

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
    field.name
    for field in fields(MarketRules)
    if field.name not in ("schedule", "per_contract", "volatility_half_life")
)


def rules_table(*rules: MarketRules) -> np.ndarray:
    """Rules of an account's instruments as the kernel reads them: (I, kernel.N_RULES), C-contiguous float64."""
    return np.array([each.as_array() for each in rules])


def _check_number(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value < 0:
        raise ValueError(f"{name} must be a finite number of at least 0, got {value!r}")
