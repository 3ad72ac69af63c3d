"""What tests of the pages share."""

import pytest

from tests import factories


@pytest.fixture
def desk():
    """A small desk in the database."""
    return factories.desk()


@pytest.fixture
def operator(client):
    """A browser whose user may do everything."""
    client.force_login(factories.operator())
    return client


@pytest.fixture
def viewer(client):
    """A browser whose user may only look."""
    client.force_login(factories.viewer())
    return client
