"""Single trades and quotes, and where their reading stands."""

from django.db import models

from core.models import Instrument


class Tick(models.Model):
    """One trade or one quote. A hypertable with one narrow key and no surrogate id: it is sized for 100 million rows.

    `identity` is a 64-bit hash of everything else in the row (see ticks/), so that the same print arriving twice is
    one row, while two prints of one microsecond are two.
    """

    class Kind(models.IntegerChoices):
        TRADE = 1, "trade"
        QUOTE = 2, "quote"

    pk = models.CompositePrimaryKey("instrument_id", "time", "identity")
    time = models.DateTimeField()
    # The database does not check the reference: that costs more than half of a bulk write, and ticks are only ever
    # written for an instrument whose TickState row is locked, which does have a checked reference.
    instrument = models.ForeignKey(
        Instrument, on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    identity = models.BigIntegerField()
    kind = models.SmallIntegerField(choices=Kind)
    price = models.FloatField(null=True, help_text="Of a trade.")
    size = models.FloatField(null=True, help_text="Of a trade, in units.")
    bid = models.FloatField(null=True)
    bid_size = models.FloatField(null=True)
    ask = models.FloatField(null=True)
    ask_size = models.FloatField(null=True)
    sequence = models.BigIntegerField(default=0, help_text="The source's own number of the print, 0 without one.")
    exchange = models.CharField(max_length=8, blank=True)
    condition = models.CharField(max_length=12, blank=True)
    source = models.CharField(max_length=12)

    def __str__(self) -> str:
        return f"{self.instrument_id} {self.time:%H:%M:%S.%f}"


class TickState(models.Model):
    """Where an instrument's ticks stand; its row lock makes writers of one instrument take turns."""

    instrument = models.OneToOneField(Instrument, primary_key=True, on_delete=models.CASCADE, related_name="tick_state")
    last_time = models.DateTimeField(null=True, blank=True, help_text="Time of the latest stored tick.")
    last_trade_time = models.DateTimeField(null=True, blank=True)
    n_ticks = models.BigIntegerField(default=0)
    n_late = models.BigIntegerField(default=0, help_text="Ticks that came after a later one.")
    n_repeated = models.BigIntegerField(default=0)
    bad = models.JSONField(default=dict, blank=True, help_text="Refused rows by reason.")
    bar_intervals = models.JSONField(default=list, blank=True, help_text="Seconds of the bars made of these ticks.")
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"ticks of {self.instrument}"
