"""What the rules are, what a bar says, and what an account holds."""

from dataclasses import dataclass, field
from math import inf, nan


@dataclass(frozen=True, kw_only=True)
class Rules:
    """One instrument's rules. The last group belongs to the account and is read from its first instrument."""

    half_spread_bps: float = 0.0
    impact_bps: float = 0.0
    impact_exponent: float = 2.0
    tick_size: float = 0.0
    lot: float = 1.0
    multiplier: float = 1.0
    schedule: str = "none"
    commission_bps: float = 0.0
    per_contract: float = 2.25
    participation: float = 0.0
    max_weight: float = 1.0
    short_selling: bool = False
    no_trade_band: float = 0.0
    stop_loss: float = 0.0
    take_profit: float = 0.0
    trail_fraction: float = 0.0
    trail_atr: float = 0.0
    time_stop: float = 0.0
    borrow_rate: float = 0.0
    settled_daily: bool = False

    leverage: float = 1.0
    margin_call: float = 0.0
    ruin_fraction: float = 0.1
    interest_rate: float = 0.0
    credit_spread: float = 0.0
    debit_spread: float = 0.0
    volatility_half_life: float = 20.0
    sharpe_rate: float = 0.01


@dataclass(frozen=True)
class Bar:
    """One bar of one instrument; `day` counts calendar days, `split` is new units for one old."""

    open: float
    high: float
    low: float
    close: float
    volume: float = 0.0
    atr: float = nan
    day: int = 0
    split: float = 1.0
    dividend: float = 0.0
    sec_rate: float = 0.0
    taf_per_share: float = 0.0
    taf_cap: float = 0.0


@dataclass(frozen=True)
class Fill:
    """One execution; reason is decision, stop, trail, target, rest or force."""

    instrument: int
    traded: float
    price: float
    commission: float
    slippage: float
    reason: str


@dataclass
class Position:
    """What is held of one instrument."""

    quantity: float = 0.0
    average_price: float = 0.0
    stop: float = nan
    target: float = nan
    best: float = nan
    age: int = 0
    rest_waits: bool = False  # a protective close found too little volume
    time_is_up: bool = False  # age reached time_stop at the last close
    settled_at: float = nan  # a daily-settled future: the price up to which its gain is in cash already

    # Inside one bar only.
    may_trade: float = inf  # what participation leaves of this bar's volume
    protected: bool = False  # the bar's one closing by protection is used up

    def clear_levels(self) -> None:
        self.average_price, self.stop, self.target, self.best = 0.0, nan, nan, nan


@dataclass
class Account:
    """Cash, positions and the running numbers the rewards need."""

    cash: float
    positions: list[Position]
    start_equity: float = nan
    equity: float = nan
    peak: float = nan
    drawdown: float = 0.0
    variance: float = 0.0
    mean: float = 0.0
    mean_square: float = 0.0
    downside_square: float = 0.0
    forced: bool = False
    terminated: bool = False
    interest: float = 0.0  # of the bar, positive when received
    borrow: float = 0.0  # of the bar, positive when paid
    fills: list[Fill] = field(default_factory=list)  # of the bar

    @classmethod
    def start(cls, cash: float, n_instruments: int = 1) -> "Account":
        positions = [Position() for _ in range(n_instruments)]
        return cls(cash=cash, positions=positions, start_equity=cash, equity=cash, peak=cash)
