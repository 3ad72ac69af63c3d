"""Where studies are kept: Optuna in PostgreSQL, in a schema of its own."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import optuna
import sqlalchemy
from django.db import connection
from optuna.storages import BaseStorage, RDBStorage

Direction = Literal["maximize", "minimize"]
SCHEMA = "optuna"
# Two trainings starting at once must not both create Optuna's tables. Any number nobody else uses will do.
SETUP_LOCK = 7_203_114_221


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


def open_study(storage: BaseStorage, name: str, directions: Sequence[Direction]) -> optuna.Study:
    """The study of that name, created on first use. directions: of the objective, or of each aim."""
    return optuna.create_study(study_name=name, storage=storage, directions=list(directions), load_if_exists=True)


def forget_study(storage: BaseStorage, name: str) -> None:
    """Delete a study with its trials, if there is one of that name."""
    if name in optuna.get_all_study_names(storage):
        optuna.delete_study(study_name=name, storage=storage)
