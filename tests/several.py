"""Random markets of shares, futures and coins in one account, and two ways to live through them.

`by_kernel` plays a case on the kernel alone, `by_broker` on real rows: orders, fills, splits, dividends and closes as
the desk books them. Prices lie on ticks and quantities in lots, as they do on an exchange.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
from django.db import transaction

from core.brokers.paper import PaperBroker
from core.brokers.paper_bar import overnight_of
from core.closed_bar import ClosedBar
from core.ledger import mark_all, to_money
from core.models import Account, Book, Instrument, Order, Position
from core.simulation import kernel
from core.simulation.bars import bar_table, side_by_side
from core.simulation.fees import fees_for
from core.simulation.rules import MarketRules, rules_table
from marketdata.adjusted import DIVIDEND, SPLIT
from marketdata.models import DAY, CorporateAction
from risk.corporate_actions import BookActions

FIRST_DAY = datetime(2019, 1, 2, tzinfo=UTC)
START_CASH = 50_000.0
SPLITS = (2.0, 7.0, 1.5, 0.25, 0.1)
# Price at the start, step of prices in the bars, and what the class fixes in its rules.
KINDS: dict[str, tuple[float, float, dict]] = {
    "share": (60.0, 0.01, {"schedule": "ibkr_tiered"}),
    "future": (
        400.0,
        0.25,
        {"schedule": "ibkr_futures", "multiplier": 20.0, "tick_size": 0.25, "settled_daily": True},
    ),
    "coin": (900.0, 0.01, {"schedule": "bps", "commission_bps": 10.0, "lot": 0.001, "tick_size": 0.0}),
}


@dataclass(frozen=True)
class Case:
    """Instruments in the account's order; row t of everything is the same day."""

    kinds: tuple[str, ...]
    rules: tuple[MarketRules, ...]
    times: list[datetime]
    bars: np.ndarray  # (T, I, N_BAR)
    targets: np.ndarray  # (T, I), NaN for no decision


@dataclass
class Lived:
    """What became of the account, bar by bar."""

    equity: list[float] = field(default_factory=list)
    cash: list[float] = field(default_factory=list)
    quantity: list[list[float]] = field(default_factory=list)
    # bar, instrument, quantity, price, commission, slippage; and what each was for
    fills: list[tuple[float, ...]] = field(default_factory=list)
    purposes: list[str] = field(default_factory=list)
    interest: float = 0.0
    borrow: float = 0.0


def make(seed: int, n_bars: int = 40) -> Case:
    """Two or three instruments, each rule on or off, decisions of a policy that draws its targets."""
    random = np.random.default_rng(seed)
    kinds = ["share", str(random.choice(["future", "coin"])), str(random.choice(["share", "future", "coin"]))]
    kinds = random.permutation(kinds[: random.integers(2, 4)]).tolist()
    days = np.cumsum(random.choice([1, 1, 1, 3, 4], n_bars))
    times = [FIRST_DAY + timedelta(days=int(day)) for day in days]
    account = _account_rules(random)
    protected = random.random() < 0.6  # without levels more accounts come to a margin call
    rules = tuple(_rules(kind, account, random, protected=protected) for kind in kinds)
    bars = side_by_side(*(_market(kind, times, days, random) for kind in kinds))
    return Case(tuple(kinds), rules, times, bars, _targets(bars, rules, random))


def _account_rules(random: np.random.Generator) -> dict[str, float]:
    u, on = random.random(5), random.random(4) < 0.6
    leverage = 1.0 + 2.0 * u[0]
    return {
        "leverage": leverage,
        "margin_call": leverage * (1.01 + 0.1 * u[1]) if on[0] else 0.0,
        "ruin_fraction": 0.6 + 0.35 * u[2] if on[1] else 0.0,
        "interest_rate": 0.06 * u[3] if on[2] else 0.0,
        "credit_spread": 0.01,
        "debit_spread": 0.03 * u[4] if on[3] else 0.0,
    }


def _rules(kind: str, account: dict[str, float], random: np.random.Generator, *, protected: bool) -> MarketRules:
    u, on = random.random(9), random.random(8) < 0.5
    on[3:5] &= protected
    trail = random.choice(["none", "fraction", "atr"]) if protected else "none"
    own = {
        "half_spread_bps": 5 * u[0],
        "impact_bps": 100 * u[1] if on[0] else 0.0,
        "participation": 0.02 + 0.1 * u[2] if on[1] else 0.0,
        "short_selling": bool(on[2]),
        "stop_loss": 0.01 + 0.06 * u[3] if on[3] else 0.0,
        "take_profit": 0.01 + 0.08 * u[4] if on[4] else 0.0,
        "trail_fraction": 0.01 + 0.06 * u[5] if trail == "fraction" else 0.0,
        "trail_atr": 0.5 + 2 * u[6] if trail == "atr" else 0.0,
        "time_stop": float(int(2 + 6 * u[7])) if on[5] else 0.0,
        "borrow_rate": 0.1 * u[8] if on[6] else 0.0,
    }
    return MarketRules(**account, **own, **KINDS[kind][2])


def _market(kind: str, times: list[datetime], days: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(T, 1, N_BAR): a random walk with gaps, on the class's price steps; shares split and pay dividends."""
    start, step, _ = KINDS[kind]
    n = len(days)
    begins = (np.arange(n) > 0) & (kind == "share")
    ratio = np.where(begins & (random.random(n) < 0.06), random.choice(SPLITS, n), 1.0)
    paid = np.where(begins & (random.random(n) < 0.1), np.round(random.random(n), 2), 0.0)
    moves = random.normal(0.0, [0.012, 0.025], (n, 2))
    walk = start * np.exp(np.cumsum(moves.ravel())).reshape(n, 2) / np.cumprod(ratio)[:, None]
    reach = 1.0 + np.abs(random.normal(0.0, 0.01, (2, n)))
    columns = walk[:, 0], walk.max(axis=1) * reach[0], walk.min(axis=1) / reach[1], walk[:, 1]
    open_, high, low, close = (np.maximum(np.round(np.round(each / step) * step, 2), step) for each in columns)
    volume = np.round(10.0 ** random.uniform(2.5, 6.0, n)) * (random.random(n) > 0.05)
    atr = np.where(np.arange(n) > 2, np.round(0.03 * close, 4), np.nan)
    return bar_table(
        open_, close, volume, fees_for(np.array([time.replace(tzinfo=None) for time in times], "datetime64[s]")),
        high=high, low=low, day=days, atr=atr, actions=np.column_stack([ratio, paid]),
    )  # fmt: skip


def _targets(bars: np.ndarray, rules: tuple[MarketRules, ...], random: np.random.Generator) -> np.ndarray:
    """Every few bars another share of what the account began with, long, short or nothing."""
    shape = bars.shape[:2]
    weight = np.where(random.random(shape) < 0.15, 0.0, random.uniform(-1.5, 1.5, shape))
    worth = np.array([each.multiplier * each.lot for each in rules])
    lots = np.trunc(weight * START_CASH / (bars[:, :, kernel.BAR_CLOSE] * worth))
    quantity = np.round(lots * [each.lot for each in rules], 3)
    return np.where(random.random(shape) < 0.35, quantity, np.nan)


def by_kernel(case: Case) -> Lived:
    """The case on the kernel alone, until an account that was closed by ruin or a margin call is flat."""
    n_bars, n = case.bars.shape[:2]
    account, positions = kernel.new_account(START_CASH), kernel.new_positions(n)
    out, fills, rules = np.empty(kernel.N_OUT), np.empty((n, 2, kernel.N_FILL)), rules_table(*case.rules)
    lived, targets = Lived(), np.full(n, np.nan)
    for t in range(n_bars):
        kernel.advance(account, positions, case.bars[max(t - 1, 0)], case.bars[t], targets, rules, out, fills)
        lived.equity.append(float(account[kernel.EQUITY]))
        lived.cash.append(float(account[kernel.CASH]))
        lived.quantity.append(positions[:, kernel.QUANTITY].tolist())
        lived.interest += out[kernel.OUT_INTEREST]
        lived.borrow += out[kernel.OUT_BORROW]
        for slot in (kernel.AT_OPEN, kernel.PROTECTIVE):
            for i in np.flatnonzero(fills[:, slot, kernel.FILL_TRADED]).tolist():
                lived.fills.append((t, i, *fills[i, slot, : kernel.FILL_REASON].tolist()))
                lived.purposes.append(("decision", "stop", "trail", "target", "rest", "force")[
                    int(fills[i, slot, kernel.FILL_REASON])
                ])  # fmt: skip
        if account[kernel.TERMINATED] and not positions[:, kernel.QUANTITY].any():
            break
        targets = np.ascontiguousarray(case.targets[t])
    return lived


@dataclass
class Desk:
    """The rows of a case: one book, its instruments, and the broker that takes it through the bars."""

    case: Case
    book: Book
    instruments: list[Instrument]
    broker: PaperBroker
    actions: list[BookActions]

    @classmethod
    def of(cls, case: Case, name: str) -> "Desk":
        """Create the rows; splits and dividends are stored."""
        account, _ = Account.objects.get_or_create(name="several")
        cash = Decimal(START_CASH)
        book = Book.objects.create(account=account, name=name, start_cash=cash, cash=cash, peak_equity=cash)
        instruments = [_instrument(f"{name}-{i}", kind, case.rules[i]) for i, kind in enumerate(case.kinds)]
        for i, instrument in enumerate(instruments):
            _store_actions(instrument, case.times, case.bars[:, i])
        broker = PaperBroker(dict(zip(instruments, case.rules, strict=True)))
        return cls(case, book, instruments, broker, [BookActions(book, each, DAY) for each in instruments])

    def live(self, t: int) -> None:
        """Bar t, as the desk deals with one: actions due, the broker, the close, then what is decided at it."""
        case, bars, nights = self.case, {}, {}
        for i, instrument in enumerate(self.instruments):
            bars[instrument] = self._bar(t, i)
            nights[instrument] = overnight_of(self.position(instrument))
            self.actions[i].book_due(bars[instrument], case.rules[i].lot)
        waiting = Order.objects.filter(book=self.book, status=Order.Status.ACCEPTED)
        orders: dict[Instrument, Order | None] = {order.instrument: order for order in waiting}
        n_days = (case.times[t] - case.times[t - 1]).days if t else 0
        self.broker.on_bars(self.book, bars, orders, n_days=n_days, overnight=nights)
        closes = {instrument: to_money(bar.close) for instrument, bar in bars.items()}
        mark_all(self.book, closes, time=case.times[t])
        for i, instrument in enumerate(self.instruments):
            self._decide(t, i, instrument)

    def _bar(self, t: int, i: int) -> ClosedBar:
        row, last = self.case.bars[t, i].tolist(), self.case.bars[max(t - 1, 0), i].tolist()
        return ClosedBar(
            self.case.times[t], row[kernel.BAR_OPEN], row[kernel.BAR_CLOSE], row[kernel.BAR_VOLUME],
            row[kernel.BAR_HIGH], row[kernel.BAR_LOW], last[kernel.BAR_ATR] / row[kernel.BAR_SPLIT],
        )  # fmt: skip

    def position(self, instrument: Instrument) -> Position | None:
        """What the ledger holds of it."""
        return Position.objects.filter(book=self.book, instrument=instrument).first()

    def _decide(self, t: int, i: int, instrument: Instrument) -> None:
        if np.isnan(self.case.targets[t, i]):
            return
        position = self.position(instrument)
        change = to_money(self.case.targets[t, i]) - (position.quantity if position else 0)
        if change == 0:
            return
        order = Order.objects.create(
            book=self.book, instrument=instrument, client_order_id=f"{instrument.symbol}-{t}",
            decided_at=self.case.times[t], side=Order.Side.BUY if change > 0 else Order.Side.SELL,
            quantity_asked=abs(change), quantity=abs(change), status=Order.Status.APPROVED,
        )  # fmt: skip
        self.broker.submit(order)


def by_broker(desk: Desk, n_bars: int, live: Callable[[int], None] | None = None) -> Lived:
    """So many bars of the case on real rows, each in one transaction. live: what deals with a bar instead."""
    book, lived = desk.book, Lived()
    for t in range(n_bars):
        with transaction.atomic():
            (live or desk.live)(t)
        lived.quantity.append([float(row.quantity) if row else 0.0 for row in map(desk.position, desk.instruments)])
    for snapshot in book.equity_snapshots.order_by("time"):
        lived.equity.append(float(snapshot.equity))
        lived.cash.append(float(snapshot.cash))
    numbers = {instrument.pk: i for i, instrument in enumerate(desk.instruments)}
    bars = {time: t for t, time in enumerate(desk.case.times)}
    for fill in book.fills.select_related("order").order_by("time", "id"):
        paid = (float(value) for value in (fill.quantity, fill.price, fill.commission, fill.slippage))
        lived.fills.append((bars[fill.time], numbers[fill.instrument_id], *paid))
        lived.purposes.append(fill.order.purpose)
    for row in book.financing.all():
        if row.kind == "interest":
            lived.interest += float(row.amount)
        else:
            lived.borrow -= float(row.amount)
    return lived


def _instrument(symbol: str, kind: str, rules: MarketRules) -> Instrument:
    asset_class = {"share": "stock", "future": "future", "coin": "crypto"}[kind]
    return Instrument.objects.create(
        symbol=symbol, name=symbol, asset_class=asset_class, multiplier=Decimal(repr(rules.multiplier)),
        tick_size=Decimal(repr(rules.tick_size)), lot_size=Decimal(repr(rules.lot)),
    )  # fmt: skip


def _store_actions(instrument: Instrument, times: list[datetime], bars: np.ndarray) -> None:
    for kind, column, nothing in ((SPLIT, kernel.BAR_SPLIT, 1.0), (DIVIDEND, kernel.BAR_DIVIDEND, 0.0)):
        CorporateAction.objects.bulk_create(
            CorporateAction(instrument=instrument, ex_date=times[t].date(), kind=kind, value=bars[t, column])
            for t in np.flatnonzero(bars[:, column] != nothing).tolist()
        )
