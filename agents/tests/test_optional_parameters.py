"""Everything a `make` reads is in its algorithm's space or among its optional parameters, or nobody could set it."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from agents import algorithms
from agents.networks.spec import RECURRENT, NetworkSpec
from agents.tests.test_off_policy import request


class Read(dict[str, Any]):
    """Remembers which keys it was asked for."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(values)
        self.asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, default)

    def __getitem__(self, key: str) -> Any:
        self.asked.add(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self.asked.add(str(key))
        return super().__contains__(key)


@pytest.mark.parametrize("name", algorithms.names())
def test_what_a_learner_reads_can_be_set_and_what_can_be_set_is_read(name: str) -> None:
    found = algorithms.get(name)
    training = SimpleNamespace(n_evaluations=1)
    parameters, wish = Read({"gamma": 0.5}), request(name, n_steps=2_048)
    settings = SimpleNamespace(features=wish.settings.features, own_state=wish.settings.own_state, training=training)
    network = NetworkSpec(RECURRENT) if RECURRENT in found.networks else wish.network
    learner = found.make(replace(wish, parameters=parameters, settings=settings, network=network))
    learner.close()
    assert parameters.asked == set(found.space) | set(found.optional)
