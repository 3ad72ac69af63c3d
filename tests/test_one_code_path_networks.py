"""Networks that see a window or remember: live they see, remember and do what the fast backtest does."""

from dataclasses import replace

import numpy as np
import pytest

from agents.loop import BarLoop
from agents.models import Agent, Decision
from agents.networks.spec import HeadSpec, NetworkSpec
from agents.policies.backtest import run_backtest
from agents.policies.policy import ServedPolicy
from core.models import EquitySnapshot, Event, Fill
from marketdata.replay import publish
from tests.desk import N_HISTORY, RULES, SmallDesk, agent_settings, small_desk
from tests.seen import seen_by_the_environment
from tests.test_one_code_path import give_policy, market_for, replay

pytestmark = pytest.mark.django_db

ANE = NetworkSpec("ane", (8,), "tanh", 8, {"size": 8, "heads": 2}).for_features(("rsi_14", "return_1"))
TCN = NetworkSpec("tcn", (8,), "tanh", 5, {"channels": 8})
RECURRENT = NetworkSpec("recurrent", (8,), "tanh", 1, {"size": 8})
LONG_RECURRENT = NetworkSpec("recurrent", (8,), "tanh", 3, {"size": 8, "layers": 2})
MASKED, STEPS = HeadSpec("logits", 9, {"masked": True}), HeadSpec("logits", 9)
RULE = replace(RULES["ppo"], short_selling=True)


@pytest.fixture(autouse=True)
def models_folder(settings, tmp_path):
    settings.MODELS_DIR = tmp_path


def equity_of(desk: SmallDesk) -> list[float]:
    rows = EquitySnapshot.objects.filter(book=desk.agent.book_id).order_by("time")
    return [float(row.equity) for row in rows]


@pytest.mark.parametrize("restart_every", [None, 7])
@pytest.mark.parametrize(
    ("network", "head", "normaliser"),
    [
        (ANE, MASKED, "online"),
        (ANE, HeadSpec("deterministic"), "zscore"),
        (TCN, HeadSpec("q", 3), "online"),
        (RECURRENT, STEPS, "zscore"),
        (LONG_RECURRENT, HeadSpec("gaussian_clipped"), "online"),
    ],
)
def test_event_driven_run_equals_the_fast_backtest(
    network: NetworkSpec, head: HeadSpec, normaliser: str, restart_every: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = small_desk("ppo", n_bars=60)
    policy = give_policy(desk, normaliser, RULE, network, head)
    market = market_for(desk, policy)
    seen = seen_by_the_environment(policy, market, N_HISTORY)
    reward = agent_settings("ppo").reward
    result = run_backtest(policy, market, desk.bars.time, N_HISTORY, len(desk.bars) - 1, reward=reward)
    assert len(result.track.fills) >= 5, "the test needs a policy that trades"
    live, observe = [], ServedPolicy.observe_scaled
    monkeypatch.setattr(ServedPolicy, "observe_scaled", lambda *args: live.append(observe(*args)) or live[-1])
    replay(desk, restart_every=restart_every)

    np.testing.assert_allclose(live, seen.observations, rtol=0, atol=1e-6)
    np.testing.assert_allclose(equity_of(desk), result.track.equity, rtol=0, atol=1e-6)
    actions = list(Decision.objects.order_by("time").values_list("action", flat=True))
    np.testing.assert_allclose(actions[:-1], result.track.actions[:-1], atol=1e-5)
    if network.has_memory:
        kept = Agent.objects.get().policy_memory
        output = policy.decide(seen.observations[-1], seen.memories[-1])
        np.testing.assert_allclose(kept["values"], output.memory, atol=1e-5)
        assert kept["bar"] == desk.times()[-1].isoformat()
    assert not Event.objects.filter(kind="agent.memory").exists()


@pytest.mark.parametrize(("network", "head"), [(ANE, MASKED), (RECURRENT, STEPS)])
def test_a_restarted_process_sees_and_remembers_the_same_bit_for_bit(network: NetworkSpec, head: HeadSpec) -> None:
    runs = []
    for name, restart_every in (("steady", None), ("restarted", 1)):
        desk = small_desk("ppo", n_bars=40, name=name)
        give_policy(desk, "online", RULE, network, head)
        replay(desk, restart_every=restart_every)
        rows = Decision.objects.filter(agent=desk.agent).order_by("time")
        runs.append(list(rows.values("time", "observation", "action", "confidence", "quantity_allowed", "rationale")))
    for one, other in zip(*runs, strict=True):
        # The second agent's checks tell of the first one's position: they share the account.
        del one["rationale"]["checks"], other["rationale"]["checks"]
        assert one == other
    assert len(runs[0]) == 40


def run_through(desk: SmallDesk, first: int, last: int, paused: range = range(0)) -> None:
    """Deal with bars `first` to `last` - 1 of the stream by a process that has just started."""
    loop = BarLoop.load(Agent.objects.get(pk=desk.agent.pk))
    for number in range(first, last):
        moment = desk.times()[number]
        publish(desk.stream, moment)
        loop.on_bar(moment, desk.stream, paused=number in paused)


@pytest.mark.parametrize("damage", [{}, {"bar": "2010-01-04T00:00:00+00:00"}, {"values": [0.0]}, {"version": -1}])
def test_a_memory_that_does_not_fit_is_rebuilt_from_the_agents_decisions(damage: dict) -> None:
    desk = small_desk("ppo", n_bars=40)
    policy = give_policy(desk, "online", RULE, RECURRENT, STEPS)
    run_through(desk, 0, 25)
    kept = Agent.objects.get().policy_memory
    Agent.objects.update(policy_memory=kept | damage if damage else {})
    run_through(desk, 25, 40)
    event = Event.objects.get(kind="agent.memory")
    assert (event.data["replayed"], event.subject) == (25, f"agent:{desk.agent.pk}")
    assert "rebuilt from 25 of its decisions" in event.message
    market = market_for(desk, policy)
    result = run_backtest(policy, market, desk.bars.time, N_HISTORY, len(desk.bars) - 1)
    np.testing.assert_allclose(equity_of(desk), result.track.equity, rtol=0, atol=1e-6)


def test_a_new_model_is_given_the_memory_it_would_have() -> None:
    desk = small_desk("ppo", n_bars=40)
    give_policy(desk, "zscore", RULE, RECURRENT, STEPS)
    run_through(desk, 0, 20)
    policy = give_policy(desk, "zscore", RULE, LONG_RECURRENT, STEPS, seed=9, number=3)
    run_through(desk, 20, 21)
    # By hand: the new network goes through the 21 bars on what was seen of itself then.
    rows, memory = policy.normaliser.apply_series(policy.spec.compute(desk.bars, None), desk.bars.time), policy.start()
    for number, decision in enumerate(Decision.objects.order_by("time")):
        own = np.array([decision.observation[name] for name in policy.own.names])
        output = policy.decide(
            policy.observe_scaled(rows[N_HISTORY + number - 2 : N_HISTORY + number + 1], own), memory
        )
        memory = output.memory
    assert output.action == decision.action
    np.testing.assert_allclose(Agent.objects.get().policy_memory["values"], memory, atol=1e-6)


def test_without_decisions_to_replay_it_begins_anew_and_says_so() -> None:
    desk = small_desk("ppo", n_bars=10)
    give_policy(desk, "zscore", RULE, RECURRENT, STEPS)
    Agent.objects.update(last_bar_time=desk.times()[2])
    run_through(desk, 3, 5)
    assert "empty: it begins anew" in Event.objects.get(kind="agent.memory").message


def test_a_paused_agent_goes_on_remembering() -> None:
    desk = small_desk("ppo", n_bars=30)
    give_policy(desk, "zscore", RULE, RECURRENT, STEPS)
    run_through(desk, 0, 30, paused=range(10, 15))
    assert Decision.objects.count() == 25
    assert Agent.objects.get().policy_memory["bar"] == desk.times()[-1].isoformat()
    assert not Event.objects.filter(kind="agent.memory").exists()


def test_the_rationale_of_a_transformer_says_where_it_looked() -> None:
    desk = small_desk("ppo", n_bars=12)
    give_policy(desk, "zscore", RULE, ANE, MASKED)
    replay(desk)
    for decision in Decision.objects.all():
        looked = decision.rationale["attention"]
        assert [part["share"] for part in looked] == sorted((part["share"] for part in looked), reverse=True)
        assert {part["bars_ago"] for part in looked} <= set(range(8))
        assert 0.5 < sum(part["share"] for part in looked) <= 1.0 + 1e-6
    assert Fill.objects.exists()
