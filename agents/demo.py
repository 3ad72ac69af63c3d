"""The demo desk: two agents on real bars, trained on this machine, then trading the unseen period on paper."""

from collections.abc import Callable
from datetime import date

from agents.models import Agent
from agents.new_agent import NewAgent, create_agent
from marketdata.demo import import_demo

ACTOR = "demo"
DEMO = (
    NewAgent(
        name="aapl-swing", algorithm="ppo", symbol="AAPL", validation=date(2009, 1, 2), unseen=date(2011, 7, 1)
    ),
    NewAgent(
        name="ndx3x-trend", algorithm="sac", symbol="NDX3X", validation=date(2015, 1, 2), unseen=date(2017, 1, 3)
    ),
)  # fmt: skip


def setup_demo(log: Callable[[str], None] = print) -> None:
    """Import the demo's bars and create what is missing; what exists is left as it is, so it may run at every start."""
    import_demo(log=log)
    for wish in DEMO:
        if not Agent.objects.filter(name=wish.name).exists():
            create_agent(wish, actor=ACTOR)
            log(f"Created agent {wish.name}; its training starts with the desk.")
