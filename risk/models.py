"""Limits every order is checked against, the kill switch's states, and splits and dividends that books have met."""

from django.db import models
from django.utils import timezone

from core.models import Account, Book, Instrument, Money


class Limits(models.Model):
    """What the gate allows on one account."""

    account = models.OneToOneField(Account, on_delete=models.CASCADE, related_name="limits")
    max_position_weight = models.FloatField(default=1.0, help_text="Largest position as a share of its book's equity.")
    max_gross_exposure = models.FloatField(
        default=1.0, help_text="All positions together, as a share of the account's equity."
    )
    max_bars_behind = models.PositiveIntegerField(
        default=0, help_text="A decision on data this many bars old is still fresh."
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name_plural = "limits"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(max_position_weight__gt=0, max_gross_exposure__gt=0), name="limits_positive"
            )
        ]

    def __str__(self) -> str:
        return f"limits of {self.account}"


class KillSwitchState(models.Model):
    """One change of the kill switch; the newest row of an account is in force and survives restarts."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="kill_switch_states")
    engaged = models.BooleanField()
    reason = models.CharField(max_length=240)
    actor = models.CharField(max_length=80)
    close_positions = models.BooleanField(default=False)
    n_canceled_orders = models.PositiveIntegerField(default=0)
    took_ms = models.FloatField(default=0)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-id"]
        get_latest_by = "id"

    def __str__(self) -> str:
        return f"{'stopped' if self.engaged else 're-armed'}: {self.reason}"


class BookedAction(models.Model):
    """A split or dividend as one book met it, once; see risk/corporate_actions.py."""

    class Kind(models.TextChoices):
        SPLIT = "split", "split"
        DIVIDEND = "dividend", "dividend"

    book = models.ForeignKey(Book, on_delete=models.PROTECT, related_name="booked_actions")
    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, related_name="booked_actions")
    ex_date = models.DateField()
    kind = models.CharField(max_length=10, choices=Kind)
    value = models.FloatField(help_text="As it was stored then: new shares for one old, or dividend a share.")
    time = models.DateTimeField(help_text="Start of the bar before whose open it was booked.")
    quantity_before = Money(help_text="Signed, held before the splits booked at this bar.")
    quantity_after = Money(help_text="Signed, held after them.")
    cash = Money(default=0, help_text="What it brought: the dividend, or the split's fractions of a lot paid out.")
    applied = models.BooleanField(
        default=True, help_text="False: nothing was changed, as nothing was held then or a person said so."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-time", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["book", "instrument", "ex_date", "kind"], name="booked_action_once")
        ]
        indexes = [models.Index(fields=["book", "instrument", "time"])]

    def __str__(self) -> str:
        return f"{self.instrument} {self.kind} {self.value:g} on {self.ex_date} in {self.book}"
