"""What a training run learns from: its agent's bars, cut and scaled, and all that its learnings share."""

from django.conf import settings as django_settings

from agents.assignment import Assignment
from agents.configuration import AgentSettings, space_of
from agents.market_view import load_inputs
from agents.models import TrainingRun
from agents.nights import load_session_days
from agents.runs import backends
from agents.runs.backends import BackendMissing
from agents.runs.dataset import Dataset, prepare
from agents.runs.run_settings import settings_of_run
from agents.setting_checks import part
from core.models import Instrument
from marketdata.corporate import load_per_bar
from marketdata.features.store import FeatureStore
from marketdata.queries import load_bars


class TrainingFailed(RuntimeError):
    """The run cannot make a version; the message says what a person should change."""


def assignment_of(run: TrainingRun) -> Assignment:
    """A run's learnings, its bars loaded. Raises: TrainingFailed or ConfigurationError."""
    run = TrainingRun.objects.select_related("agent__instrument", "agent__book__account", "configuration").get(
        pk=run.pk
    )
    settings = settings_of_run(run)
    part("training.search", lambda: space_of(settings))  # a run of before may ask for what its backend cannot do
    try:
        backends.check(run.backend, settings.algorithm, settings.network.kind)
        dataset, cash = load_dataset(run, settings), float(run.agent.book.start_cash)
        return Assignment(run.pk, settings, dataset, cash, run.backend)
    except BackendMissing as error:
        raise TrainingFailed(str(error)) from error
    except ValueError as error:
        raise TrainingFailed(f"{run.agent.instrument.symbol}: {error}") from error


def load_dataset(run: TrainingRun, settings: AgentSettings) -> Dataset:
    """The agent's bars, cut and scaled. Raises: TrainingFailed or ValueError if bars are missing."""
    return dataset_of(run.agent.instrument, run.agent.interval_seconds, settings)


def dataset_of(instrument: Instrument, interval_seconds: int, settings: AgentSettings) -> Dataset:
    """An instrument's stored bars, cut and scaled as settings say. Raises: TrainingFailed or ValueError."""
    training, vix_id = settings.training, None
    if "vix" in settings.features.needs and training.vix:
        source = Instrument.objects.filter(symbol=training.vix).first()
        if source is None:
            raise TrainingFailed(
                f"training.vix: there is no instrument {training.vix}; import its bars or drop the feature"
            )
        vix_id = source.pk
    inputs = load_inputs(instrument, vix_id, interval_seconds, settings.features)
    traded = load_bars(instrument.pk, interval_seconds)
    return prepare(
        inputs.bars, inputs.vix, settings.features, training.validation, training.unseen, interval_seconds,
        settings.normaliser, underlying=inputs.underlying, scores=inputs.scores, sessions=inputs.sessions,
        store=FeatureStore(django_settings.LOCAL_DIR / "features"), traded=traded,
        actions=load_per_bar(instrument, interval_seconds, traded.time),
        day=load_session_days(instrument, interval_seconds, traded.time),
    )  # fmt: skip
