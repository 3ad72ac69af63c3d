"""The promise the desk exists for: bars through the real order path give what the fast backtest gives."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
import torch
from django.db import connection
from django.urls import reverse
from django.utils.html import escape

from agents.environment.market import Market
from agents.environment.own_state import ALL, OwnSpec
from agents.environment.own_state import CATALOGUE as OWN
from agents.loop import BarLoop, StoppedMeanwhileError
from agents.models import Agent, AgentConfiguration, Decision
from agents.networks.network import ServedNetwork
from agents.networks.spec import HeadSpec, NetworkSpec
from agents.own_rows import OwnRows
from agents.policies import normalisers
from agents.policies.features import FeatureSpec
from agents.policies.normalisers import NormaliserChoice
from agents.policies.policy import ServedPolicy
from agents.runs.dataset import market_of
from core.models import EquitySnapshot, Fill, Order
from core.simulation.rules import MarketRules
from marketdata.replay import publish
from risk import kill_switch
from tests import factories
from tests.desk import FEATURES, N_HISTORY, RULES, SmallDesk, backtest_of, small_desk, stored_version
from tests.seen import seen_by_the_environment

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def models_folder(settings, tmp_path):
    settings.MODELS_DIR = tmp_path


def replay(desk: SmallDesk, *, restart_every: int | None = None) -> None:
    loop = BarLoop.load(desk.agent)
    for number, moment in enumerate(desk.times()):
        if restart_every and number % restart_every == 0:
            loop = BarLoop.load(Agent.objects.get(pk=desk.agent.pk))
        publish(desk.stream, moment)
        loop.on_bar(moment, desk.stream, paused=False)


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
@pytest.mark.parametrize("restart_every", [None, 7])
def test_event_driven_run_equals_the_fast_backtest(algorithm: str, restart_every: int | None) -> None:
    desk = small_desk(algorithm)
    result = backtest_of(desk)
    assert len(result.track.fills) >= 5, "the test needs a policy that trades"
    replay(desk, restart_every=restart_every)

    equity = [float(s.equity) for s in EquitySnapshot.objects.filter(book=desk.agent.book_id).order_by("time")]
    np.testing.assert_allclose(equity, result.track.equity, rtol=0, atol=1e-6)
    fills = [
        (fill.time.timestamp(), float(fill.quantity), float(fill.price), float(fill.commission))
        for fill in Fill.objects.order_by("time")
    ]
    expected = [(result.time[int(bar)], *rest) for bar, *rest in result.track.fills.tolist()]
    np.testing.assert_allclose(fills, expected, rtol=0, atol=1e-6)
    decisions = list(Decision.objects.order_by("time"))
    assert len(decisions) == len(desk.times())
    np.testing.assert_allclose([d.action for d in decisions][:-1], result.track.actions[:-1], atol=1e-6)
    # Rewards and their parts add up to the backtest's; the last decision has not been paid yet.
    assert decisions[-1].reward is None
    paid = sum(d.reward for d in decisions[:-1] if d.reward is not None)
    assert paid == pytest.approx(result.track.reward_components["reward"], abs=1e-9)
    for name in ("net_return", "log_return", "drawdown", "volatility", "cost"):
        total = sum(d.reward_components[name] for d in decisions[:-1])
        assert total == pytest.approx(result.track.reward_components[name], abs=1e-8), name


def test_every_order_comes_from_a_decision_and_fills_one_bar_later() -> None:
    desk = small_desk("ppo")
    replay(desk)
    times = desk.times()
    for order in Order.objects.filter(status=Order.Status.FILLED):
        decision = Decision.objects.get(pk=order.decision_id)
        fill = Fill.objects.get(order=order)
        assert decision.time == order.decided_at
        assert times.index(fill.time) == times.index(order.decided_at) + 1


def test_a_bar_is_dealt_with_once() -> None:
    desk = small_desk("ppo", n_bars=5)
    first, second = desk.times()[:2]
    loop = BarLoop.load(desk.agent)
    publish(desk.stream, first)
    loop.on_bar(first, desk.stream, paused=False)
    with pytest.raises(StoppedMeanwhileError):
        BarLoop.load(desk.agent).on_bar(first, desk.stream, paused=False)
    publish(desk.stream, second)
    loop.on_bar(second, desk.stream, paused=False)
    assert Decision.objects.count() == 2


def test_future_bars_change_no_past_decision_or_fill() -> None:
    desk = small_desk("ppo", n_bars=40)
    replay(desk)
    seen = list(Decision.objects.order_by("time").values_list("time", "action", "quantity_allowed", "confidence"))
    fills = list(Fill.objects.order_by("time").values_list("time", "quantity", "price"))

    other = small_desk("ppo", n_bars=40, name="other")
    cut = other.times()[20]
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE marketdata_bar SET open = open * 3, high = high * 9, low = low / 2, close = close * 5"
            " WHERE instrument_id = %s AND time > %s",
            [other.agent.instrument_id, cut],
        )
    replay(other)
    again = Decision.objects.filter(agent=other.agent).order_by("time")
    assert [row for row in again.values_list("time", "action", "quantity_allowed", "confidence") if row[0] <= cut] == [
        row for row in seen if row[0] <= cut
    ]
    later = Fill.objects.filter(book=other.agent.book_id).order_by("time").values_list("time", "quantity", "price")
    assert [row for row in later if row[0] <= cut] == [row for row in fills if row[0] <= cut]


def test_paused_agent_values_its_book_but_decides_nothing() -> None:
    desk = small_desk("ppo", n_bars=4)
    loop = BarLoop.load(desk.agent)
    for moment in desk.times():
        publish(desk.stream, moment)
        loop.on_bar(moment, desk.stream, paused=True)
    assert Decision.objects.count() == 0
    assert EquitySnapshot.objects.filter(equity=Decimal(50_000)).count() == 4


def test_close_all_positions_holds_for_a_paused_agent_too() -> None:
    desk = small_desk("ppo", n_bars=30)
    loop, times = BarLoop.load(desk.agent), iter(desk.times())
    while loop.execution.held() == 0:
        moment = next(times)
        publish(desk.stream, moment)
        loop.on_bar(moment, desk.stream, paused=False)
    kill_switch.engage(desk.account, reason="test", actor="test", close_positions=True)
    for _ in range(2):  # the order is made at the close of one bar and filled at the next one's open
        moment = next(times)
        publish(desk.stream, moment)
        loop.on_bar(moment, desk.stream, paused=True)
    assert loop.execution.held() == 0
    assert Fill.objects.order_by("time").last().time == moment
    n_decisions = Decision.objects.count()
    last = next(times)
    publish(desk.stream, last)
    assert loop.on_bar(last, desk.stream, paused=True) is None
    assert Decision.objects.count() == n_decisions, "once flat a paused agent decides nothing"


PLAIN = {
    "ppo": (NetworkSpec(hidden=(8,), activation="tanh"), HeadSpec("logits", 3)),
    "sac": (NetworkSpec(hidden=(8,), activation="relu"), HeadSpec("gaussian")),
}


def give_policy(
    desk: SmallDesk,
    normaliser: str,
    rules: MarketRules,
    network: NetworkSpec | None = None,
    head: HeadSpec | None = None,
    seed: int = 7,
    number: int = 2,
) -> ServedPolicy:
    """Deploy a random policy that sees every own value, fitted on bars that end 20 before the stream begins."""
    algorithm, spec, own = desk.agent.algorithm, FeatureSpec(FEATURES), OwnSpec(ALL)
    network, head = network or PLAIN[algorithm][0], head or PLAIN[algorithm][1]
    raw = spec.compute(desk.bars, None)
    choice = NormaliserChoice(normaliser, half_life=30.0)
    fitted = normalisers.fit(choice, raw, desk.bars.time, spec.warm_up, N_HISTORY - 21)
    generator = torch.Generator().manual_seed(seed)
    layers = ServedNetwork(network, head, len(FEATURES), len(own))
    weights = {
        name: torch.randn(*tensor.shape, generator=generator) if tensor.ndim > 1 else tensor.detach() * 0.0
        for name, tensor in layers.named_parameters()
    }
    actions = {1: "target", 3: "choice", 9: "steps"}[head.n_actions]
    policy = ServedPolicy.from_parts(
        algorithm=algorithm, actions=actions, spec=spec, normaliser=fitted, rules=rules, network=network, head=head,
        weights=weights, own=own,
    )  # fmt: skip
    settings = AgentConfiguration.objects.get(agent=desk.agent)
    settings.data |= {"own_state": list(ALL), "normaliser": normaliser, "rules": rules.to_dict()}
    settings.save()
    version = stored_version(desk.agent, policy, number=number)
    Agent.objects.filter(pk=desk.agent.pk).update(deployed_version=version)
    desk.agent.refresh_from_db()
    return policy


def market_for(desk: SmallDesk, policy: ServedPolicy) -> Market:
    """The desk's bars beside features scaled as the policy's training would."""
    raw = policy.spec.compute(desk.bars, None)
    return market_of(desk.bars, policy.normaliser.apply_series(raw, desk.bars.time))


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
@pytest.mark.parametrize("normaliser", normalisers.KINDS)
def test_with_every_own_value_and_any_normaliser_live_sees_what_the_environment_sees(
    algorithm: str, normaliser: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = small_desk(algorithm, n_bars=60)
    policy = give_policy(desk, normaliser, replace(RULES[algorithm], short_selling=True))
    seen = seen_by_the_environment(policy, market_for(desk, policy), N_HISTORY)
    live, observe = [], ServedPolicy.observe_scaled
    monkeypatch.setattr(ServedPolicy, "observe_scaled", lambda *args: live.append(observe(*args)) or live[-1])
    replay(desk, restart_every=7)
    decisions = list(Decision.objects.order_by("time"))
    assert len(decisions) == len(seen.observations)
    assert len({d.label for d in decisions}) > 1
    assert Fill.objects.count() >= 10, "the test needs a policy that trades"
    found = [[d.observation[name] for name in ALL] for d in decisions]
    np.testing.assert_allclose(found, seen.owns, rtol=0, atol=1e-10)
    np.testing.assert_allclose(live, seen.observations, rtol=0, atol=1e-6)


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_a_restart_reads_only_what_still_matters_and_remembers_as_much(algorithm: str) -> None:
    desk = small_desk(algorithm, n_bars=60)
    give_policy(desk, "zscore", replace(RULES[algorithm], short_selling=True))
    loop, n_shortened = BarLoop.load(desk.agent), 0
    for moment in desk.times():
        publish(desk.stream, moment)
        loop.on_bar(moment, desk.stream, paused=False)
        bar = loop.view.look(moment)
        short, whole = OwnRows(desk.agent), OwnRows(desk.agent)
        whole._begin = lambda until: None  # type: ignore[method-assign]
        begun = short._begin(moment)
        n_shortened += begun is not None and begun.time > desk.times()[0]
        expected = loop.own_rows.memory(bar)
        np.testing.assert_array_equal(short.memory(bar), expected)
        np.testing.assert_array_equal(whole.memory(bar), expected)
    assert n_shortened > 20


@pytest.mark.parametrize("normaliser", ["zscore", "online"])
def test_a_restarted_process_sees_the_same_bit_for_bit(normaliser: str) -> None:
    rules = replace(RULES["ppo"], short_selling=True)
    runs = []
    for name, restart_every in (("steady", None), ("restarted", 1)):
        desk = small_desk("ppo", n_bars=50, name=name)
        give_policy(desk, normaliser, rules)
        replay(desk, restart_every=restart_every)
        rows = Decision.objects.filter(agent=desk.agent).order_by("time")
        runs.append(list(rows.values_list("time", "observation", "action", "confidence", "rationale")))
    assert runs[0] == runs[1]
    assert len(runs[0]) == 50


def test_the_decision_page_shows_own_values_in_plain_words(client) -> None:
    desk = small_desk("ppo", n_bars=12)
    give_policy(desk, "online", RULES["ppo"])
    replay(desk)
    client.force_login(factories.operator())
    shown = set()
    for decision in Decision.objects.all():
        page = client.get(reverse("decision", args=[desk.agent.name, int(decision.time.timestamp())]))
        assert page.status_code == 200
        shown |= {value.label for value in OWN.values() if escape(value.label) in page.content.decode()}
    assert len(shown) >= 5


def test_a_paused_bar_is_remembered_by_its_value_but_not_as_a_decision() -> None:
    desk = small_desk("ppo", n_bars=40)
    give_policy(desk, "zscore", RULES["ppo"])
    paused = set(desk.times()[20:25])
    loop = BarLoop.load(desk.agent)
    for number, moment in enumerate(desk.times()):
        publish(desk.stream, moment)
        loop.on_bar(moment, desk.stream, paused=moment in paused)
        if number == 25:
            again = BarLoop.load(Agent.objects.get(pk=desk.agent.pk))
            bar = again.view.look(moment)
            np.testing.assert_array_equal(again.own_rows.memory(bar), loop.own_rows.memory(bar))
    before = Decision.objects.get(time=desk.times()[19])
    after = Decision.objects.get(time=desk.times()[25])
    # Five bars without a decision: the last wish is still the one before them, the returns are those of the bars.
    wanted = before.quantity_wanted * before.close / before.equity
    assert after.observation["wanted_1"] == pytest.approx(wanted, abs=1e-15)
    assert after.observation["wanted_2"] == before.observation["wanted_1"]
    equity = [float(s.equity) for s in EquitySnapshot.objects.order_by("time")[20:26]]
    for k in range(1, 6):
        expected = equity[6 - k] / equity[5 - k] - 1
        assert after.observation[f"own_return_{k}"] == pytest.approx(expected, abs=1e-12)
