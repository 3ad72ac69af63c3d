"""Features and own state in plain words, for the sentence that explains a decision. Every phrase states a fact."""

from collections.abc import Callable

from agents.environment import own_state
from agents.own_words import OWN_PHRASES, Phrase
from agents.policies.features import CATALOGUE, display


def phrase(name: str, value: float, previous: float | None = None, unit: str = "day") -> str:
    """One fact, such as "RSI 14 fell to 28.4".

    name: of a feature or of the own state; value, previous: raw, now and one bar before if known; unit: of one bar.
    Raises: KeyError for a name without words.
    """
    words = PHRASES.get(name)
    return words(value, previous, unit) if words else _named(name, value, previous)


def label(name: str) -> str:
    """Plain words for a feature or a part of the own state."""
    return own_state.CATALOGUE[name].label if name in own_state.CATALOGUE else CATALOGUE[name].label


def shown(name: str, value: float) -> str:
    """A raw value as operators read it."""
    return own_state.CATALOGUE[name].display(value) if name in own_state.CATALOGUE else display(name, value)


def _moved(value: float, previous: float | None, text: Callable[[float], str]) -> str:
    # Compared as shown: "fell to 28.4" from 28.4 would read as nonsense.
    if previous is None or text(value) == text(previous):
        return f"is at {text(value)}"
    return f"{'rose' if value > previous else 'fell'} to {text(value)}"


def _named(name: str, value: float, previous: float | None) -> str:
    """Of a feature without words of its own: what it is called, and where it is."""
    feature = CATALOGUE[name]
    text = feature.display(value)
    moved = _moved(value, previous, feature.display) if any(letter.isdigit() for letter in text) else f"is {text}"
    return f"“{feature.label}” {moved}"


def _level(subject: str, name: str) -> Phrase:
    return lambda value, previous, unit: f"{subject} {_moved(value, previous, CATALOGUE[name].display)}"


def _against_average(length: int) -> Phrase:
    def words(value: float, previous: float | None, unit: str) -> str:
        average = f"its {length}-{unit} average"
        amount = f"{abs(value) * 100:.1f} %"
        if amount == "0.0 %":
            return f"the close is at {average}"
        return f"the close is {amount} {'above' if value > 0 else 'below'} {average}"

    return words


def _slope(value: float, previous: float | None, unit: str) -> str:
    amount = f"{abs(value) * 100:.2f} %"
    if amount == "0.00 %":
        return f"the 50-{unit} average is flat"
    return f"the 50-{unit} average is {'rising' if value > 0 else 'falling'} by {amount} a {unit}"


def _change(length: int) -> Phrase:
    def words(value: float, previous: float | None, unit: str) -> str:
        span = f"the last {unit}" if length == 1 else f"{length} {unit}s"
        amount = f"{abs(value) * 100:.1f} %"
        if amount == "0.0 %":
            return f"the price did not move over {span}"
        return f"the price {'rose' if value > 0 else 'fell'} {amount} over {span}"

    return words


def _volatility(value: float, previous: float | None, unit: str) -> str:
    return f"volatility over 20 {unit}s {_moved(value, previous, CATALOGUE['volatility_20'].display)} a year"


def _sided(subject: str) -> Phrase:
    def words(value: float, previous: float | None, unit: str) -> str:
        side = "above" if value > 0 else "below"
        return f"{subject} is {side} zero ({value * 100:.2f} % of the price)"

    return words


PHRASES: dict[str, Phrase] = {
    "rsi_14": _level("RSI 14", "rsi_14"),
    "macd": _sided("the MACD line"),
    "macd_signal": _sided("the MACD signal"),
    "macd_histogram": _sided("the MACD histogram"),
    "ema_10": _against_average(10),
    "ema_50": _against_average(50),
    "ema_50_slope": _slope,
    "vix": _level("VIX", "vix"),
    "return_1": _change(1),
    "return_5": _change(5),
    "return_20": _change(20),
    "volatility_20": _volatility,
    **OWN_PHRASES,
}
