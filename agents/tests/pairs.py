"""Two instruments of one account whose calendars differ, for tests."""

from typing import Any

import numpy as np

from agents.configuration import AgentSettings
from agents.runs.dataset import Dataset, prepare
from agents.runs.joint_dataset import JointDataset, several
from agents.runs.learning import Lesson
from agents.tests.worlds import settings, walk
from core.simulation.rules import MarketRules
from marketdata.series import BarSeries

MISSING_OF_FIRST, MISSING_OF_SECOND = (200,), (100, 450, 600)  # rows of `walk`
# Another broker's costs, so that the two cannot be mistaken for each other.
OTHER_RULES = MarketRules(half_spread_bps=5.0, schedule="bps", commission_bps=3.0, no_trade_band=0.02)


def without(bars: BarSeries, rows: tuple[int, ...]) -> BarSeries:
    """The bars without some of them."""
    kept = np.delete(np.arange(len(bars)), rows)
    return BarSeries(*(getattr(bars, name)[kept] for name in ("time", "open", "high", "low", "close", "volume")))


def halves(of: AgentSettings) -> list[Dataset]:
    """The two instruments apart, cut as the settings say."""
    bars = without(walk(), MISSING_OF_FIRST), without(walk(seed=7), MISSING_OF_SECOND)
    cuts = of.training.validation, of.training.unseen
    return [prepare(one, None, of.features, *cuts, normaliser=of.normaliser) for one in bars]


def pair(of: AgentSettings) -> JointDataset:
    """The same in one account."""
    return several(halves(of))


def lesson(algorithm: str = "ppo", *, n_steps: int = 6_144, **changes: Any) -> Lesson:
    """A short lesson of both; changes: of the lesson."""
    of = settings(algorithm, n_steps=n_steps)
    data = pair(of)
    whole: dict[str, Any] = {
        "dataset": data, "settings": of, "parameters": {"learning_rate": 1e-3, "batch_size": 128}, "seed": 1,
        "training": data.training, "validation": data.validation, "n_steps": n_steps, "other_rules": (OTHER_RULES,),
    }  # fmt: skip
    return Lesson(**whole | changes)
