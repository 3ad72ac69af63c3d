"""Long proofs, run by `make test-slow`."""

import pytest

from agents.demo import DEMO, setup_demo
from agents.models import Agent, ModelVersion, TrainingRun
from agents.runs.training import train
from core.models import Event, JobRow

pytestmark = [pytest.mark.slow]


@pytest.fixture
def demo(db, settings, tmp_path):
    """The demo's agents on real bars, as `make up` creates them."""
    pytest.importorskip("arch", reason="the demo's bars come from the optional group: pip install '.[demo]'")
    settings.MODELS_DIR = tmp_path
    setup_demo(log=lambda text: None)


@pytest.mark.parametrize("number", range(len(DEMO)))
def test_the_demos_training_gives_the_same_weights_again(demo, number: int) -> None:
    agent = Agent.objects.get(name=DEMO[number].name)
    hashes = set()
    for _ in range(2):
        run = TrainingRun.objects.create(
            agent=agent,
            configuration=agent.configuration,
            seed=1,
            desired_state=JobRow.Desired.RUNNING,
            n_workers=1,  # in this process: others do not see the rows of a test
        )
        hashes.add(train(run).weights_sha256)
    assert len(hashes) == 1
    assert ModelVersion.objects.filter(agent=agent, backtests__period="unseen", backtests__passed=True).exists()
    assert Event.objects.filter(subject__startswith="agent:").exists()
