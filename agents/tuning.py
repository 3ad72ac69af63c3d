"""The study behind every training: Optuna in PostgreSQL, in a schema of its own, so that a crash loses one trial."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import optuna
import sqlalchemy
from django.db import connection
from optuna.storages import RDBStorage
from optuna.trial import TrialState

SCHEMA = "optuna"
# Two trainings starting at once must not both create Optuna's tables. Any number nobody else uses will do.
SETUP_LOCK = 7_203_114_221
RANDOM_TRIALS = 2  # before the sampler has anything to learn from


def database_url() -> sqlalchemy.URL:
    """The desk's own database, with Optuna's schema first in line."""
    settings = connection.settings_dict
    return sqlalchemy.URL.create(
        "postgresql+psycopg",
        username=settings["USER"] or None,
        password=settings["PASSWORD"] or None,
        host=settings["HOST"] or None,
        port=int(settings["PORT"]) if settings["PORT"] else None,
        database=settings["NAME"],
        query={"options": f"-csearch_path={SCHEMA}"},
    )


@contextmanager
def open_storage() -> Iterator[RDBStorage]:
    """Optuna's storage, its schema created if missing; connections are closed at the end."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url = database_url()
    with _alone(url):
        storage = RDBStorage(url.render_as_string(hide_password=False), engine_kwargs={"pool_pre_ping": True})
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


@contextmanager
def _alone(url: sqlalchemy.URL) -> Iterator[None]:
    """Hold the setup lock and make sure the schema exists."""
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    try:
        with engine.connect() as session:
            session.execute(sqlalchemy.text("SELECT pg_advisory_lock(:number)"), {"number": SETUP_LOCK})
            session.execute(sqlalchemy.text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
            session.commit()  # the lock belongs to the session and stays until it closes
            yield
    finally:
        engine.dispose()


def open_study(storage: RDBStorage, name: str) -> optuna.Study:
    """The study of that name, created on first use. Higher scores are better; a trial worse than the median ends."""
    return optuna.create_study(
        study_name=name,
        storage=storage,
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=RANDOM_TRIALS, n_warmup_steps=1),
    )


def ask(study: optuna.Study, seed: int) -> optuna.Trial:
    """The next trial. The sampler starts anew from `seed` each time, so a study continued draws like one in one go."""
    study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=RANDOM_TRIALS)
    return study.ask()


def unfinished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Trials a dead process has left behind."""
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def give_up(study: optuna.Study, number: int, *, parameters: dict[str, Any] | None = None) -> None:
    """Close a trial as failed; with parameters, ask for the same ones again next."""
    study.tell(number, state=TrialState.FAIL)
    if parameters:
        study.enqueue_trial(parameters)
