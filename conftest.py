"""What every test shares."""

from importlib import import_module

import pytest
from django.conf import settings


def pytest_configure(config: pytest.Config) -> None:
    """Say what to do when there is no database, instead of failing test by test."""
    if not settings.DATABASE_KNOWN:
        pytest.exit("no database is running: use `make test`, or `python manage.py db up` first", returncode=2)


@pytest.fixture(autouse=True)
def _plain_static_files(settings) -> None:
    """Pages refer to static files by plain names, so tests need no collected copies."""
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }


@pytest.fixture(scope="session", autouse=True)
def _all_addresses_known() -> None:
    """Load the address table first: it also registers the admin's pages."""
    import_module(settings.ROOT_URLCONF)
