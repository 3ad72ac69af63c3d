"""The one risk gate: every order intent is approved, made smaller or denied here, with a reason. Fails closed.

Pure: what it judges is passed in, so a test, a backtest and a live agent are judged by the same lines.
"""

import math
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Intent:
    """What an agent wants, and all the gate must know to judge it. Money in account currency, quantities signed."""

    quantity_held: float
    quantity_wanted: float
    price: float  # close of the last closed bar
    multiplier: float
    lot: float
    book_equity: float
    account_equity: float
    gross_elsewhere: float  # absolute value of every other position of the account
    bars_behind: int | None  # closed bars the decision does not know; None: the feed's state is unknown
    kill_switch_engaged: bool
    closing_on_kill: bool  # the order closes a position because the kill switch asked for it
    live: bool
    live_allowed: bool
    data_fault: str | None  # what is wrong with the agent's series, if it stops trading; "": nothing; None: unknown


@dataclass(frozen=True)
class GateLimits:
    """Limits as fractions of equity; see risk.models.Limits."""

    max_position_weight: float
    max_gross_exposure: float
    max_bars_behind: int


@dataclass(frozen=True)
class Check:
    """One rule's answer, in words for the decision page."""

    code: str
    name: str
    passed: bool
    detail: str


# These make an order smaller; their detail is a pair of numbers and needs the rule's name beside it.
SIZE_CODES = ("POSITION_LIMIT", "EXPOSURE_LIMIT")


@dataclass(frozen=True)
class Verdict:
    """The gate's answer: quantity to hold after the order, and why."""

    verdict: str  # approved, resized, denied, no_order
    quantity_allowed: float
    reason_code: str = ""
    checks: list[Check] = field(default_factory=list)

    @property
    def reason(self) -> str:
        """The first failed check in words, empty when all passed."""
        failed = next((check for check in self.checks if not check.passed), None)
        if failed is None:
            return ""
        return f"{failed.name}: {failed.detail}" if failed.code in SIZE_CODES else failed.detail


def judge(intent: Intent, limits: GateLimits | None) -> Verdict:
    """Judge one intent. Missing limits or broken numbers deny it; reducing a position is never made smaller."""
    held, wanted = intent.quantity_held, intent.quantity_wanted
    if not _finite(intent):
        check = Check(
            "BAD_INPUT", "Numbers make sense", False, "a price, quantity or equity is missing or not a number"
        )
        return Verdict("denied", held, check.code, [check])
    if wanted == held:
        return Verdict("no_order", held)
    limits = limits if _usable(limits) else None
    checks = _blocking_checks(intent, limits)
    failed = next((check for check in checks if not check.passed), None)
    if failed or limits is None:
        return Verdict("denied", held, failed.code if failed else "NO_LIMITS", checks)
    if _reduces(intent):
        checks.append(Check("REDUCES", "Only reduces the position", True, "no size limit applies"))
        return Verdict("approved", wanted, "", checks)
    allowed = wanted
    for check, largest in _size_limits(intent, limits):
        checks.append(check)
        if not check.passed:
            allowed = math.copysign(min(abs(allowed), largest), wanted) + 0.0  # never -0.0
    return _sized(intent, allowed, checks)


def _finite(intent: Intent) -> bool:
    numbers = (intent.quantity_held, intent.quantity_wanted, intent.book_equity, intent.account_equity)
    positive = (intent.price, intent.multiplier, intent.lot)
    return (
        all(n is not None and math.isfinite(n) for n in (*numbers, *positive, intent.gross_elsewhere))
        and all(n > 0 for n in positive)
        and intent.gross_elsewhere >= 0
    )


def _usable(limits: GateLimits | None) -> bool:
    """Whether there are limits that limit something: PostgreSQL keeps NaN and infinity and calls both positive."""
    if limits is None or limits.max_bars_behind is None:
        return False
    sizes = (limits.max_position_weight, limits.max_gross_exposure)
    return all(size is not None and math.isfinite(size) and size > 0 for size in sizes)


def _reduces(intent: Intent) -> bool:
    """Whether the order only makes a position smaller, down to nothing, without changing sides."""
    held, wanted = intent.quantity_held, intent.quantity_wanted
    return abs(wanted) <= abs(held) and wanted * held >= 0


def _blocking_checks(intent: Intent, limits: GateLimits | None) -> list[Check]:
    """Rules that deny an order whole."""
    closes = intent.quantity_wanted == 0 and intent.closing_on_kill
    stopped = intent.kill_switch_engaged and not closes
    behind = intent.bars_behind
    fresh = limits is not None and behind is not None and 0 <= behind <= limits.max_bars_behind
    faultless = intent.data_fault == ""
    soundness = "the state of the data is unknown" if intent.data_fault is None else intent.data_fault or "no fault"
    freshness = "what the feed has published is unknown" if behind is None else f"{behind} bars behind the feed"
    # Without equity nothing may grow, but what is left must be allowed to go.
    money = intent.book_equity > 0 or _reduces(intent)
    return [
        Check(
            "KILL_SWITCH", "Trading is allowed", not stopped, "trading was stopped by a person" if stopped else "yes"
        ),
        Check(
            "NO_LIMITS",
            "Limits are set",
            limits is not None,
            "found" if limits else "this account has no usable limits",
        ),
        Check("STALE_DATA", "Data is fresh", fresh or closes, freshness),
        # A wrong price must not cause a sale either, so reductions wait too; only the kill switch's closing goes on.
        Check("DATA_FAULT", "Data can be trusted", faultless or closes, soundness),
        Check(
            "LIVE_NOT_ALLOWED",
            "Paper, or live allowed",
            not intent.live or intent.live_allowed,
            "live trading is not switched on for this desk" if intent.live and not intent.live_allowed else "ok",
        ),
        Check("NO_EQUITY", "Money is there", money, f"the book is worth {intent.book_equity:,.2f}"),
    ]


def _size_limits(intent: Intent, limits: GateLimits) -> list[tuple[Check, float]]:
    """Rules that make an order smaller, each with the largest quantity it allows."""
    unit = intent.price * intent.multiplier
    wanted = abs(intent.quantity_wanted)
    by_position = _lots(limits.max_position_weight * intent.book_equity / unit, intent.lot)
    room = limits.max_gross_exposure * intent.account_equity - intent.gross_elsewhere
    by_exposure = _lots(max(room, 0.0) / unit, intent.lot)
    weight = wanted * unit / intent.book_equity
    exposure = (
        (wanted * unit + intent.gross_elsewhere) / intent.account_equity if intent.account_equity > 0 else math.inf
    )
    return [
        _size_check(
            "POSITION_LIMIT", f"Position limit, {limits.max_position_weight:.0%} of equity", wanted, by_position, weight
        ),
        _size_check(
            "EXPOSURE_LIMIT",
            f"All positions, {limits.max_gross_exposure:.2f} × equity",
            wanted,
            by_exposure,
            exposure,
        ),
    ]


def _size_check(code: str, name: str, wanted: float, largest: float, share: float) -> tuple[Check, float]:
    passed = wanted <= largest + 1e-9
    detail = f"{share:.2f} × equity" if passed else f"{wanted:g} → {largest:g}"
    return Check(code, name, passed, detail), largest


def _lots(quantity: float, lot: float) -> float:
    """Whole lots, toward zero; a hair of float noise does not cost a lot."""
    return math.floor(quantity / lot + 1e-9) * lot


def _sized(intent: Intent, allowed: float, checks: list[Check]) -> Verdict:
    code = next((check.code for check in checks if not check.passed), "")
    if not code:
        return Verdict("approved", allowed, "", checks)
    held = intent.quantity_held
    # A limit may stop an increase, but must not turn it into a sale.
    if held * allowed >= 0 and abs(allowed) <= abs(held) and held * intent.quantity_wanted >= 0:
        return Verdict("denied", held, code, checks)
    return Verdict("resized", allowed, code, checks)
