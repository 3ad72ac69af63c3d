"""What a study's skill is called on pages: one plain sentence. Pure."""

from math import sqrt
from typing import Any


def skill_words(found: dict[str, Any], periods_per_year: float) -> str:
    """found: of Skill.to_dict. Sharpe ratios are told per year."""
    best, luck = (found[name] * sqrt(periods_per_year) for name in ("sharpe", "luck"))
    tries = f"{found['n_trials']} tries" if found["n_trials"] > 1 else "a single try"
    if found["proven"]:
        return f"Better than luck of {tries} with a chance of {_percent(found['chance'])}."
    if best <= 0.0:
        return "The best settings cannot be told from luck: on the validation bars they earned nothing for their risk."
    if luck == 0.0:
        return (
            f"The best settings cannot be told from luck: their Sharpe ratio of {best:.2f} a year is above 0 with a "
            f"chance of only {_percent(found['chance'])}."
        )
    return (
        f"The best settings cannot be told from luck: the best of {tries} without any skill shows a Sharpe ratio of "
        f"about {luck:.2f} a year; these show {best:.2f}, better than that with a chance of only "
        f"{_percent(found['chance'])}."
    )


def _percent(chance: float) -> str:
    return "more than 99 %" if chance >= 0.995 else f"{100 * chance:.0f} %"
