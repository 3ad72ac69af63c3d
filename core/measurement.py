"""One measured figure beside the peer's, as `manage.py bench` prints it."""

import json
import math
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Measurement:
    """One figure and what it is held against; ratio is value / baseline, both null without a peer to measure."""

    name: str
    value: float
    unit: str
    baseline: float | None
    baseline_is: str
    more: dict[str, Any] = field(default_factory=dict)  # what else was seen in the same run

    def to_json(self) -> str:
        """One line, fit for docs/benchmarks.md and for machines."""
        ratio = None if self.baseline is None else _short(self.value / self.baseline)
        return json.dumps(
            {
                "bench": self.name,
                "value": _short(self.value),
                "unit": self.unit,
                "baseline": None if self.baseline is None else _short(self.baseline),
                "ratio": ratio,
                "baseline_is": self.baseline_is,
                **self.more,
            }
        )


def _short(value: float) -> float:
    """Three digits that mean something, more before the point."""
    if not math.isfinite(value) or value == 0:
        return value
    return round(value, max(1, 2 - math.floor(math.log10(abs(value)))))
