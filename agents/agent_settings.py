"""An agent's settings as its process, its training and its forms must read them: parsed, and fitting its instrument."""

from typing import Any

from agents.configuration import AgentSettings, check_fits, parse
from agents.models import Agent


def settings_of(agent: Agent, data: dict[str, Any]) -> AgentSettings:
    """Settings from AgentConfiguration.data. Raises: ConfigurationError naming the setting that is wrong."""
    settings, traded = parse(agent.algorithm, data), agent.instrument
    check_fits(
        settings.rules,
        symbol=traded.symbol,
        tick_size=float(traded.tick_size),
        lot=float(traded.lot_size),
        multiplier=float(traded.multiplier),
        settled_daily=traded.settled_daily,
    )
    return settings
