import gc
import multiprocessing
import threading
import time

import numpy as np

from agents.environment.batch_env import BatchEnv
from agents.environment.env import EnvConfig
from agents.tests.markets import random_actions, stormy

CONFIG = EnvConfig(episode_length=30)
ACTIONS = random_actions(CONFIG, 12, (1024,))


def batch(n_threads: int) -> BatchEnv:
    made = BatchEnv(stormy(), CONFIG, 1024, seed=1, n_threads=n_threads)
    made.reset()
    return made


def equity_after(made: BatchEnv, pause: float = 0.0) -> np.ndarray:
    for actions in ACTIONS:
        made.step(actions)
        time.sleep(pause)
    return made.accounts.copy()


def test_helpers_that_fell_asleep_wake_again():
    np.testing.assert_array_equal(equity_after(batch(3), pause=0.01), equity_after(batch(1)))


def test_helpers_leave_with_their_batch():
    before, made = threading.active_count(), batch(3)
    equity_after(made)
    assert threading.active_count() == before + 2
    del made
    gc.collect()
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_few_copies_need_no_helpers():
    before, made = threading.active_count(), BatchEnv(stormy(), CONFIG, 64, n_threads=4)
    made.reset()
    made.step(np.zeros(64))
    assert threading.active_count() == before


def _in_a_child(made: BatchEnv, results: "multiprocessing.Queue[np.ndarray]") -> None:
    results.put(equity_after(made))


def test_a_forked_process_hires_its_own():
    made, context = batch(2), multiprocessing.get_context("fork")
    made.step(np.zeros(1024))
    results = context.Queue()
    child = context.Process(target=_in_a_child, args=(made, results))
    child.start()
    found = results.get(timeout=30)
    child.join(timeout=30)
    np.testing.assert_array_equal(found, equity_after(made))
