"""How much a second worker brings: the same study with one worker and with two, side by side on this machine."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from statistics import median
from typing import Any

from django.utils import timezone

from agents.benches import random_bars
from agents.configuration import demo_configuration
from agents.models import Agent, AgentConfiguration, TrainingRun, Trial
from agents.runs.run_files import forget_files
from agents.studies import tuning
from agents.studies.workforce import LocalWorkers
from core.measurement import Measurement
from core.models import Account, Book, Instrument, JobRow
from core.processes import wait_until
from marketdata.models import DAY, Bar
from marketdata.queries import copy_bars
from marketdata.series import BarSeries

NAME = "bench-tune"
N_BARS = 1_500
N_TRIALS = 8
# Long enough that the ends of a study, where one worker waits for the other, do not decide.
N_STEPS = 65_536
LONGEST_SECONDS = 120.0
N_ROUNDS = 1


class BenchFailed(RuntimeError):
    """A study did not come to its end in time."""


def tune() -> list[Measurement]:
    """Trials a minute with two workers and with one, from the first trial's start to the last one's end."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(N_ROUNDS):
        for n in rates:
            rates[n].append(_rate(n))
    two, one = median(rates[2]), median(rates[1])
    return [Measurement("tune", two, "trials/min", one, "the same study with one worker")]


def _rate(n_workers: int) -> float:
    """Trials a minute. A worker's start (Python, torch, bars) is left out: it comes once, not per trial."""
    with _study() as run:
        workers = LocalWorkers(run.pk)
        try:
            workers.keep(n_workers, 0)
            _wait(run, lambda: run.trials.filter(progress__gt=0).count() >= n_workers)
            began, done = time.perf_counter(), _work(run)
            _wait(run, lambda: run.trials.filter(state=Trial.State.DONE).count() >= N_TRIALS - n_workers)
            return (_work(run) - done) / (time.perf_counter() - began) * 60.0
        finally:
            workers.end()


def _work(run: TrainingRun) -> float:
    """Trials that are behind the workers, those under way in part."""
    return sum(run.trials.values_list("progress", flat=True))


def _wait(run: TrainingRun, check: Any) -> None:
    if not wait_until(check, seconds=LONGEST_SECONDS, every=0.1):
        raise BenchFailed(f"{run} did not come far enough in {LONGEST_SECONDS:.0f} s; see the log")


@contextmanager
def _study() -> Iterator[TrainingRun]:
    """A run on made-up bars whose trials all take the same steps; it leaves nothing behind."""
    bars = random_bars(N_BARS, 7)
    days = BarSeries(bars.time * 24, bars.open, bars.high, bars.low, bars.close, bars.volume)
    symbol = NAME.upper()
    for left in Instrument.objects.filter(symbol=symbol):
        _forget(left)  # by a bench that was killed
    instrument = Instrument.objects.create(symbol=symbol, name=NAME, asset_class=Instrument.AssetClass.STOCK)
    try:
        copy_bars(instrument.pk, DAY, days, "bench")
        yield _run(instrument, days)
    finally:
        _forget(instrument)


def _run(instrument: Instrument, bars: BarSeries) -> TrainingRun:
    account, cash = Account.objects.create(name=NAME), Decimal(50_000)
    book = Book.objects.create(account=account, name=NAME, start_cash=cash, cash=cash, peak_equity=cash)
    agent = Agent.objects.create(name=NAME, algorithm="ppo", instrument=instrument, book=book)
    dates = [datetime.fromtimestamp(int(bars.time[row]), UTC).date() for row in (N_BARS * 6 // 10, N_BARS * 8 // 10)]
    data = demo_configuration("ppo", *dates)
    data["training"] |= {
        "n_trials": N_TRIALS, "n_steps": N_STEPS, "n_evaluations": 2, "n_folds": 2, "n_seeds": 1, "pruner": "none",
        "vix": "", "search": {"width": 64, "drop": "nothing", "batch_size": 512},
    }  # fmt: skip
    configuration = AgentConfiguration.objects.create(agent=agent, version=1, data=data)
    # Workers help a run that is at work; a desk that runs here as well leaves alone what somebody has a lease of.
    run = TrainingRun.objects.create(
        agent=agent, configuration=configuration, desired_state=JobRow.Desired.RUNNING, state=JobRow.State.RUNNING,
        lease_until=timezone.now() + timedelta(seconds=4 * LONGEST_SECONDS),
    )  # fmt: skip
    run.study_name = f"{NAME}-{run.pk}-{time.time_ns()}"
    run.save()
    return run


def _forget(instrument: Instrument) -> None:
    for run in TrainingRun.objects.filter(agent__name=NAME):
        with tuning.open_storage() as storage:
            tuning.forget_study(storage, run.study_name)
        forget_files(run.pk)
        run.delete()
    Agent.objects.filter(name=NAME).delete()
    Book.objects.filter(name=NAME).delete()
    Account.objects.filter(name=NAME).delete()
    Bar.objects.filter(instrument=instrument).delete()
    instrument.delete()
