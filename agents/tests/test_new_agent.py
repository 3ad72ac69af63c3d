from decimal import Decimal

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from agents.models import Agent, AgentConfiguration, TrainingRun
from core.models import Instrument, JobRow
from marketdata.models import DAY, Subscription
from marketdata.queries import copy_bars
from tests.desk import seeded_bars

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme() -> Instrument:
    instrument = Instrument.objects.create(
        symbol="ACME", name="Acme", asset_class="crypto", tick_size=Decimal("0.05"), has_volume=False
    )
    copy_bars(instrument.pk, DAY, seeded_bars(500), "test")
    return instrument


def test_one_command_makes_everything_an_agent_needs(acme: Instrument) -> None:
    call_command("add_agent", "acme-swing", symbol="ACME", cash="1000")
    agent = Agent.objects.get(name="acme-swing")
    assert agent.book.cash == 1000 and agent.book.account.limits is not None
    assert agent.stream is not None and agent.stream.desired_state == JobRow.Desired.RUNNING
    # 80 % of 500 bars: bar 400, a weekday's start 80 weeks after the first Monday
    assert f"{agent.stream.from_time:%Y-%m-%d}" == "2011-07-18"
    data = AgentConfiguration.objects.get(agent=agent).data
    assert data["rules"]["tick_size"] == 0.05 and data["rules"]["participation"] == 0
    assert (data["rules"]["schedule"], data["rules"]["commission_bps"]) == ("bps", 10.0)
    assert data["training"]["periods"]["unseen"] == "2011-07-18" and "vix" not in data["features"]
    assert TrainingRun.objects.filter(agent=agent, desired_state="running").count() == 1
    assert Subscription.objects.filter(subscriber="acme-swing", active=True).count() == 1


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("acme", {"symbol": "NONE"}, "no instrument NONE"),
        ("Acme Swing", {"symbol": "ACME"}, "will not do"),
        ("acme", {"symbol": "ACME", "cash": "-1"}, "above 0"),
        ("acme", {"symbol": "ACME", "cash": "much"}, "expected an amount"),
        ("acme", {"symbol": "ACME", "unseen": "2030-01-01"}, "no bars from 2030-01-01"),
        ("acme", {"symbol": "ACME", "validation": "2011-08-01", "unseen": "2011-07-01"}, "must come after"),
        ("acme", {"symbol": "ACME", "unseen": "soon"}, "'soon' is no date"),
    ],
)
def test_a_wrong_wish_is_refused_and_leaves_nothing(acme: Instrument, name: str, options: dict, message: str) -> None:
    with pytest.raises(CommandError, match=message):
        call_command("add_agent", name, *(f"--{key}={value}" for key, value in options.items()))
    assert not Agent.objects.exists()


def test_a_name_is_taken_once(acme: Instrument) -> None:
    call_command("add_agent", "acme", symbol="ACME")
    with pytest.raises(CommandError, match="already is an agent acme"):
        call_command("add_agent", "acme", symbol="ACME")
