"""Shared words as rows: instruments, the account and its ledger, the journal, and what every job row carries."""

from decimal import Decimal

from django.db import models
from django.utils import timezone


class Money(models.DecimalField):
    """An amount or price in the ledger: 28 digits, 10 after the point, never a float."""

    def __init__(self, *args, **kwargs):
        kwargs.setdefault("max_digits", 28)
        kwargs.setdefault("decimal_places", 10)
        super().__init__(*args, **kwargs)


class Instrument(models.Model):
    """Something that can be traded or watched."""

    class AssetClass(models.TextChoices):
        STOCK = "stock", "stock"
        ETF = "etf", "exchange-traded fund"
        INDEX = "index", "index"
        FUTURE = "future", "future"
        CRYPTO = "crypto", "crypto"

    symbol = models.CharField(max_length=32, unique=True)
    name = models.CharField(max_length=120)
    asset_class = models.CharField(max_length=12, choices=AssetClass)
    exchange = models.CharField(max_length=32, blank=True)
    calendar = models.CharField(max_length=16, default="XNYS", help_text="Exchange calendar, such as XNYS.")
    currency = models.CharField(max_length=3, default="USD")
    tick_size = Money(default=Decimal("0.01"), help_text="Smallest price step; 0 means no rounding.")
    lot_size = Money(default=Decimal(1))
    multiplier = Money(default=Decimal(1), help_text="Money per point: 1 for shares, 20 for NQ.")
    leverage_factor = Money(
        default=Decimal(1), help_text="3 for a fund that moves three times its underlying each day."
    )
    underlying = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="derived")
    constructed = models.BooleanField(
        default=False, help_text="Computed by us from another series, not traded anywhere."
    )
    construction = models.TextField(blank=True, help_text="How a constructed series was made, in one sentence.")
    has_volume = models.BooleanField(default=True)

    class Meta:
        ordering = ["symbol"]
        constraints = [
            models.CheckConstraint(condition=models.Q(tick_size__gte=0), name="instrument_tick_not_negative"),
            models.CheckConstraint(condition=models.Q(lot_size__gt=0), name="instrument_lot_positive"),
            models.CheckConstraint(condition=models.Q(multiplier__gt=0), name="instrument_multiplier_positive"),
        ]

    def __str__(self) -> str:
        return self.symbol

    @property
    def settled_daily(self) -> bool:
        """Whether gains and losses go to cash at every close instead of the price being paid: futures."""
        return self.asset_class == self.AssetClass.FUTURE

    @property
    def price_places(self) -> int | None:
        """Decimals a price is shown with, from the price step; None where there is no step."""
        exponent = self.tick_size.normalize().as_tuple().exponent
        return max(-exponent, 0) if isinstance(exponent, int) and self.tick_size else None


class Account(models.Model):
    """One brokerage account; agents trade shares of it called books."""

    class Mode(models.TextChoices):
        PAPER = "paper", "paper"
        LIVE = "live", "live, real money"

    name = models.CharField(max_length=60, unique=True)
    mode = models.CharField(max_length=8, choices=Mode, default=Mode.PAPER)
    currency = models.CharField(max_length=3, default="USD")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Book(models.Model):
    """A named share of an account's money that one strategy trades; its cash and positions are its own."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="books")
    name = models.CharField(max_length=60)
    start_cash = Money()
    cash = Money()
    peak_equity = Money(help_text="Highest equity at a close so far.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["account", "name"], name="book_name_once_per_account")]

    def __str__(self) -> str:
        return f"{self.account.name}/{self.name}"


class Order(models.Model):
    """An instruction: its intent is approved, resized or denied, then it goes to the broker."""

    class Side(models.TextChoices):
        BUY = "buy", "buy"
        SELL = "sell", "sell"

    class Status(models.TextChoices):
        APPROVED = "approved", "approved, not yet sent"
        DENIED = "denied", "denied by the risk gate"
        SUBMITTED = "submitted", "submitted"
        ACCEPTED = "accepted", "accepted by the broker"
        PARTIALLY_FILLED = "partially_filled", "partially filled"
        FILLED = "filled", "filled"
        CANCELED = "canceled", "canceled"
        REJECTED = "rejected", "rejected by the broker"
        EXPIRED = "expired", "expired"

    class Purpose(models.TextChoices):
        DECISION = "decision", "a decision"
        STOP = "stop", "stop-loss"
        TRAIL = "trail", "trailing stop"
        TARGET = "target", "take-profit"
        REST = "rest", "rest of a protective close"
        FORCE = "force", "forced close"

    OPEN = (Status.APPROVED, Status.SUBMITTED, Status.ACCEPTED, Status.PARTIALLY_FILLED)

    book = models.ForeignKey(Book, on_delete=models.PROTECT, related_name="orders")
    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, related_name="orders")
    client_order_id = models.CharField(max_length=64, unique=True)
    purpose = models.CharField(max_length=10, choices=Purpose, default=Purpose.DECISION)
    # Points into the decisions hypertable, which cannot be a foreign key's target.
    decision_id = models.BigIntegerField(null=True, blank=True, db_index=True)
    decided_at = models.DateTimeField(help_text="Time of the bar on which it was decided.")
    side = models.CharField(max_length=4, choices=Side)
    quantity_asked = Money(help_text="What the agent wanted, before the risk gate.")
    quantity = Money(help_text="What the risk gate allowed.")
    filled_quantity = Money(default=Decimal(0))
    status = models.CharField(max_length=20, choices=Status)
    reason_code = models.CharField(max_length=40, blank=True)
    reason = models.CharField(max_length=240, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    submitted_at = models.DateTimeField(null=True, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["book", "status"]), models.Index(fields=["instrument", "decided_at"])]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(quantity__gte=0, filled_quantity__gte=0, filled_quantity__lte=models.F("quantity")),
                name="order_filled_within_quantity",
            )
        ]

    def __str__(self) -> str:
        return f"{self.side} {self.quantity.normalize():f} {self.instrument.symbol}"

    @property
    def signed_quantity(self) -> Decimal:
        """Quantity with its sign: positive buys, negative sells."""
        return self.quantity if self.side == self.Side.BUY else -self.quantity


class Fill(models.Model):
    """One execution. A hypertable: its keys include `time`, the start of the bar in which it happened."""

    time = models.DateTimeField()
    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="fills")
    book = models.ForeignKey(Book, on_delete=models.PROTECT, related_name="fills")
    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, related_name="fills")
    execution_id = models.CharField(max_length=80)
    quantity = Money(help_text="Signed: positive bought, negative sold.")
    price = Money()
    commission = Money()
    slippage = Money(help_text="Paid against the reference price, in account currency.")
    recorded_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-time", "-id"]
        constraints = [models.UniqueConstraint(fields=["execution_id", "time"], name="fill_once")]
        indexes = [models.Index(fields=["book", "time"])]

    def __str__(self) -> str:
        return f"{self.quantity.normalize():+f} {self.instrument.symbol} at {self.price.normalize():f}"


class Position(models.Model):
    """Signed quantity of one instrument in one book."""

    book = models.ForeignKey(Book, on_delete=models.PROTECT, related_name="positions")
    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, related_name="positions")
    quantity = Money(default=Decimal(0))
    average_price = Money(default=Decimal(0))
    last_price = Money(default=Decimal(0), help_text="Close of the last bar seen.")
    last_time = models.DateTimeField(null=True, blank=True)
    opened_at = models.DateTimeField(null=True, blank=True)
    age_bars = models.PositiveIntegerField(default=0)
    # Protective levels, as simulation has them: None where a rule is off or nothing is held.
    stop_price = Money(null=True, blank=True)
    target_price = Money(null=True, blank=True)
    best_price = Money(null=True, blank=True, help_text="Best since it was opened; a trailing stop follows it.")
    closing = models.BooleanField(
        default=False, help_text="A protective close found too little volume; the rest trades at the next open."
    )
    forced_flat = models.BooleanField(default=False, help_text="Must be closed at the next open, whatever is decided.")
    realised_result = Money(default=Decimal(0), help_text="Closed results after costs of closed parts.")

    class Meta:
        ordering = ["instrument__symbol"]
        constraints = [models.UniqueConstraint(fields=["book", "instrument"], name="position_once_per_book")]

    def __str__(self) -> str:
        return f"{self.quantity.normalize():f} {self.instrument.symbol}"

    @property
    def open_result(self) -> Decimal:
        """Gain or loss on what is still held, at the last close, before closing costs."""
        return self.quantity * (self.last_price - self.average_price) * self.instrument.multiplier


class EquitySnapshot(models.Model):
    """What a book was worth at the close of one bar. A hypertable."""

    time = models.DateTimeField(help_text="Start of the bar at whose close it was taken.")
    book = models.ForeignKey(Book, on_delete=models.PROTECT, related_name="equity_snapshots")
    cash = Money()
    equity = Money()
    exposure = models.FloatField(help_text="Position value divided by equity, signed.")
    drawdown = models.FloatField(help_text="Fraction below the running peak, 0 to 1.")
    recorded_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["book", "time"]
        constraints = [models.UniqueConstraint(fields=["book", "time"], name="equity_once_per_bar")]

    def __str__(self) -> str:
        return f"{self.equity:.2f} at {self.time:%Y-%m-%d %H:%M}"


class Event(models.Model):
    """One line of the journal: who, what, when, before, after. A hypertable, never edited."""

    class Level(models.TextChoices):
        INFO = "info", "information"
        ATTENTION = "attention", "attention"
        CRITICAL = "critical", "critical"

    time = models.DateTimeField(default=timezone.now)
    kind = models.CharField(max_length=48, help_text="Such as order.filled, agent.started, kill_switch.engaged.")
    level = models.CharField(max_length=10, choices=Level, default=Level.INFO)
    actor = models.CharField(max_length=80, default="system", help_text="Who did it: a user name, an agent, system.")
    subject = models.CharField(max_length=80, blank=True, help_text="What it is about, such as agent:3.")
    message = models.CharField(max_length=400)
    data = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["-time", "-id"]
        indexes = [models.Index(fields=["kind", "time"]), models.Index(fields=["subject", "time"])]

    def __str__(self) -> str:
        return self.message


class Heartbeat(models.Model):
    """The last sign of life of a component on a host."""

    component = models.CharField(max_length=40)
    host = models.CharField(max_length=80)
    pid = models.PositiveIntegerField()
    started_at = models.DateTimeField(default=timezone.now)
    beat_at = models.DateTimeField(default=timezone.now)
    detail = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["component"]
        constraints = [models.UniqueConstraint(fields=["component", "host"], name="heartbeat_once_per_host")]

    def __str__(self) -> str:
        return f"{self.component} on {self.host}"


class Financing(models.Model):
    """Interest on a book's cash or the fee for borrowed shares, booked once per session."""

    class Kind(models.TextChoices):
        INTEREST = "interest", "interest on cash"
        BORROW = "borrow", "fee for borrowed shares"

    book = models.ForeignKey(Book, on_delete=models.PROTECT, related_name="financing")
    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, related_name="financing")
    kind = models.CharField(max_length=10, choices=Kind)
    time = models.DateTimeField(help_text="Start of the session's first bar.")
    n_days = models.PositiveIntegerField(help_text="Calendar days since the session before.")
    amount = Money(help_text="Added to cash; negative is paid.")
    recorded_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-time", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["book", "instrument", "kind", "time"], name="financing_once"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.amount.normalize():f}"


class JobRow(models.Model):
    """What every long-running job carries: what is wanted, what is, and who runs it.

    The process that runs it holds an advisory lock for (kind, id); these columns are for launching and for showing.
    """

    class Desired(models.TextChoices):
        RUNNING = "running", "running"
        PAUSED = "paused", "paused"
        STOPPED = "stopped", "stopped"

    class State(models.TextChoices):
        STOPPED = "stopped", "stopped"
        STARTING = "starting", "starting"
        WAITING = "waiting", "waiting"
        RUNNING = "running", "running"
        PAUSED = "paused", "paused"
        STOPPING = "stopping", "stopping"
        FINISHED = "finished", "finished"
        FAILED = "failed", "failed"

    desired_state = models.CharField(max_length=10, choices=Desired, default=Desired.STOPPED)
    state = models.CharField(max_length=10, choices=State, default=State.STOPPED)
    state_reason = models.CharField(max_length=400, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True, help_text="A launcher has claimed the row until then.")
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    pid = models.PositiveIntegerField(null=True, blank=True)
    host = models.CharField(max_length=80, blank=True)
    n_restarts = models.PositiveIntegerField(default=0)
    settings_version = models.PositiveIntegerField(default=1, help_text="Raised whenever wanted settings change.")
    applied_version = models.PositiveIntegerField(default=0, help_text="The version the process has taken over.")

    class Meta:
        abstract = True
