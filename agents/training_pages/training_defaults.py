"""What a training does where its settings say nothing: the defaults of TrainingSettings."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

from agents.training_pages.training_settings import TrainingSettings

DEFAULTS: dict[str, Any] = {item.name: item.default for item in fields(TrainingSettings) if item.default is not MISSING}


def training_value(data: dict[str, Any], name: str) -> Any:
    """One value of AgentConfiguration.data["training"], or its default."""
    return data.get("training", {}).get(name, DEFAULTS[name])
