"""What an agent knows of itself, in plain words for the sentence that explains a decision."""

from collections.abc import Callable

from agents.environment.own_history import N_WANTED

Phrase = Callable[[float, float | None, str], str]  # value, value one bar before if known, what one bar is called


def _weight(value: float, previous: float | None, unit: str) -> str:
    if value == 0:
        return "it holds nothing"
    return f"{abs(value) * 100:.0f} % of its money is {'invested' if value > 0 else 'sold short'}"


def _open_return(value: float, previous: float | None, unit: str) -> str:
    if value == 0:
        return "it has no open gain or loss"
    return f"its open position is {'up' if value > 0 else 'down'} {abs(value) * 100:.1f} %"


def _drawdown(value: float, previous: float | None, unit: str) -> str:
    if value == 0:
        return "its account is at its peak"
    return f"its account is {value * 100:.1f} % below its peak"


def _time(value: float, previous: float | None, unit: str) -> str:
    if value == 0:
        return "no position is open"
    return f"it has held for {_count(value, unit)}"


def _count(value: float, unit: str) -> str:
    return f"{value:.0f} {unit}{'' if round(value) == 1 else 's'}"


def _wanted(number: int) -> Phrase:
    def words(value: float, previous: float | None, unit: str) -> str:
        when = "at its last decision" if number == 1 else f"{number} decisions ago"
        share = f"{abs(value) * 100:.0f} %"
        if share == "0 %":
            return f"{when} it wanted no position"
        return f"{when} it wanted {share} of its money {'invested' if value > 0 else 'sold short'}"

    return words


def _own_return(number: int) -> Phrase:
    def words(value: float, previous: float | None, unit: str) -> str:
        when = f"in the last {unit}" if number == 1 else f"{_count(number - 1, unit)} ago"
        amount = f"{abs(value) * 100:.2f} %"
        if amount == "0.00 %":
            return f"its money did not change {when}"
        return f"its money {'grew' if value > 0 else 'shrank'} by {amount} {when}"

    return words


def _mean(value: float, previous: float | None, unit: str) -> str:
    amount = f"{abs(value) * 100:.2f} %"
    if amount == "0.00 %":
        return f"its money hardly changed over 20 {unit}s"
    return f"its money {'grew' if value > 0 else 'shrank'} by {amount} a {unit} over 20 {unit}s"


def _volatility(value: float, previous: float | None, unit: str) -> str:
    return f"its money moved by {value * 100:.2f} % a {unit} over 20 {unit}s"


def _since_fill(value: float, previous: float | None, unit: str) -> str:
    if value == 0:
        return f"it traded in the last {unit}"
    return f"it has not traded for {_count(value, unit)}"


def _fills(value: float, previous: float | None, unit: str) -> str:
    if value == 0:
        return f"none of its orders was carried out in 20 {unit}s"
    return f"{value:.0f} of its orders {'was' if value == 1 else 'were'} carried out in 20 {unit}s"


def _trade_result(value: float, previous: float | None, unit: str) -> str:
    amount = f"{abs(value) * 100:.1f} %"
    if amount == "0.0 %":
        return "its last trade brought nothing, or there was none"
    return f"its last trade {'gained' if value > 0 else 'lost'} {amount}"


def _extreme(which: str) -> Phrase:
    def words(value: float, previous: float | None, unit: str) -> str:
        if value == 0:
            return f"no position is open, or its {which} close was at its entry"
        return f"its position was {'up' if value > 0 else 'down'} {abs(value) * 100:.1f} % at its {which} close"

    return words


def _given_back(value: float, previous: float | None, unit: str) -> str:
    if value == 0:
        return "it has given nothing back of its best close"
    return f"its position has given back {value * 100:.1f} % since its best close"


def _cash(value: float, previous: float | None, unit: str) -> str:
    if value < 0:
        return f"it has borrowed {-value * 100:.0f} % of its money"
    return f"{value * 100:.0f} % of its money is in cash"


OWN_PHRASES: dict[str, Phrase] = {
    "weight": _weight,
    "open_return": _open_return,
    "drawdown": _drawdown,
    "time_in_position": _time,
    **{f"wanted_{number}": _wanted(number) for number in range(1, N_WANTED + 1)},
    **{f"own_return_{number}": _own_return(number) for number in range(1, N_WANTED + 1)},
    "own_return_mean_20": _mean,
    "own_volatility_20": _volatility,
    "bars_since_fill": _since_fill,
    "fills_20": _fills,
    "last_trade_result": _trade_result,
    "best_open_return": _extreme("best"),
    "worst_open_return": _extreme("worst"),
    "given_back": _given_back,
    "cash_share": _cash,
}
