"""One decision in plain words. Every clause comes from an actual value and the sign of its contribution."""

from dataclasses import dataclass

import numpy as np

from agents.environment.actions import CHOICE, STEPS, TARGET
from agents.policies.outputs import PolicyOutput
from agents.wording import phrase

# An input stands out when it alone makes this share of all the pushing and pulling; among more inputs than these the
# shares are smaller, and so is what stands out.
STANDS_OUT, AMONG = 0.15, 16
# What speaks against is worth a word when it is at least half as strong as the best reason.
OBJECTION = 0.5


@dataclass(frozen=True)
class Reason:
    """One input and how it moved the decision."""

    name: str
    value: float  # raw, NaN if not known
    previous: float | None  # raw, one bar before
    contribution: float


@dataclass(frozen=True)
class Position:
    """Signed quantities at the time of the decision."""

    held: float
    wanted: float


@dataclass(frozen=True)
class Manner:
    """How a policy decides, as far as the words hang on it."""

    actions: str = CHOICE  # choice, steps or target
    rated: bool = False  # it rates actions by their value instead of giving them probabilities


def sentence(manner: Manner, output: PolicyOutput, reasons: list[Reason], position: Position, unit: str = "day") -> str:
    """What it chose, why, and how sure it was.

    reasons: most important first. Contributions speak for a choice when positive; those of a target push the wanted
    position up or down, so a sale's reasons are the negative ones.
    """
    choice, why = _choice(manner, output, position), _because(manner, output, reasons, unit)
    if why[0] in ",;:":
        choice = choice.removesuffix(",")
    return f"{choice}{why}. {_sureness(manner, output)}"


def _choice(manner: Manner, output: PolicyOutput, position: Position) -> str:
    held, wanted = position.held, position.wanted
    if wanted == held:
        return _unchanged(manner, output.label, held)
    if wanted > held:
        if held < 0:
            return "It chose to buy back what it had sold short" + (" and more" if wanted > 0 else "")
        return "It chose to buy more" if held else "It chose to buy"
    if output.label == "buy":
        return "It wants to stay fully invested and only gives back what its money does not carry,"
    if held <= 0:
        return "It chose to sell short"
    if wanted > 0:
        return "It chose to sell a part"
    return "It chose to sell everything" + (" and sell short" if wanted < 0 else "")


def _unchanged(manner: Manner, label: str, held: float) -> str:
    """The position stays: because that is the choice, or because the choice changes nothing."""
    if label == "buy" and manner.actions == STEPS:
        return "It keeps what it holds: it would buy, but the change is too small for an order," if held else (
            "It stays out: it would buy, but that step of its money does not reach for one unit,"
        )  # fmt: skip
    if label == "buy":
        return "It keeps what it holds: it would buy, but cannot hold more," if held else (
            "It stays out: it would buy, but its money does not reach for one unit,"
        )  # fmt: skip
    if label == "sell":
        return "It keeps what it holds: it would sell, but the change is too small for an order," if held else (
            "It stays out: it would sell, but holds nothing,"
        )  # fmt: skip
    return "It keeps what it holds" if held else "It stays out of the market"


def _because(manner: Manner, output: PolicyOutput, reasons: list[Reason], unit: str) -> str:
    known = [reason for reason in reasons if not np.isnan(reason.value)]
    total = sum(abs(reason.contribution) for reason in reasons)
    enough = STANDS_OUT * min(AMONG / len(reasons), 1.0) * total if reasons else 0.0
    strong = [reason for reason in known if total > 0 and abs(reason.contribution) >= enough]
    if manner.actions == TARGET and output.label == "hold":
        return _balance(strong, unit)
    direction = -1.0 if manner.actions == TARGET and output.label == "sell" else 1.0
    good = [reason for reason in strong if reason.contribution * direction > 0][:2]
    bad = [reason for reason in strong if reason.contribution * direction < 0][:1]
    if not good:
        return _nothing_speaks_for_it(bad, unit)
    text = " because " + " and ".join(_words(reason, unit) for reason in good)
    if bad and abs(bad[0].contribution) >= OBJECTION * abs(good[0].contribution):
        text += f", although {_words(bad[0], unit)}"
    return text


def _nothing_speaks_for_it(bad: list[Reason], unit: str) -> str:
    if bad:
        return f" although {_words(bad[0], unit)}; no single input speaks for it"
    return "; no single input stands out"


def _balance(strong: list[Reason], unit: str) -> str:
    """Holding by target: the wanted position is near the held one; say what pushes which way."""
    up = next((reason for reason in strong if reason.contribution > 0), None)
    down = next((reason for reason in strong if reason.contribution < 0), None)
    if up and down:
        return f": {_words(up, unit)}, which speaks for more, but {_words(down, unit)}, which speaks for less"
    if up or down:
        reason = up or down
        assert reason is not None
        return (
            f", the position it wants; most of all {_words(reason, unit)}, which speaks for {'more' if up else 'less'}"
        )
    return "; no single input stands out"


def _words(reason: Reason, unit: str) -> str:
    return phrase(reason.name, reason.value, reason.previous, unit)


def _sureness(manner: Manner, output: PolicyOutput) -> str:
    if output.target is not None:
        target = output.target
        wish = "no position" if round(target * 100) == 0 else f"{abs(target) * 100:.0f} % {_side(target)}"
        if output.deviation is None:
            return f"It wants {wish}."
        return f"It wants {wish} and was {output.confidence * 100:.0f} % sure of that, give or take a quarter."
    others = {name: share for name, share in output.preferences.items() if name != output.label}
    name, second = max(others.items(), key=lambda item: item[1])
    first, other = output.confidence, f"{second * 100:.0f} %"
    doing = {"buy": "buying", "sell": "selling", "hold": "holding"}
    if manner.rated:
        return f"It rates {doing[output.label]} at {first * 100:.0f} % and {doing[name]} at {other}."
    if second > first:
        return f"It was {first * 100:.0f} % sure; {doing[name]} in all its sizes together had {other}."
    return f"It was {first * 100:.0f} % sure; {doing[name]} came second with {other}."


def _side(target: float) -> str:
    return "of its money invested" if target > 0 else "of its money sold short"
