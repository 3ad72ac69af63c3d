"""`manage.py bench proof`: how near learners come to the best possible policy, and how soon."""

import json
import math
import subprocess
import sys
from dataclasses import asdict, dataclass
from statistics import median

import torch
from django.conf import settings

from agents.proof_markets import PROOF_MARKETS
from agents.proof_markets.lesson import N_STEPS, Proof, looks
from core.measurement import Measurement

SEEDS = (1, 2, 3)
N_LOOKS = 10
GOAL = 0.95
TIMEOUT = 1_800  # seconds for all of it


@dataclass(frozen=True)
class Course:
    """One learning from its beginning to its end."""

    algorithm: str
    market: str
    share: float  # of the optimum, at the end
    seconds: float  # of the whole learning
    cpu_seconds: float
    steps: int
    seconds_to_goal: float | None  # until the first of N_LOOKS looks that saw GOAL, None if none did


def course(algorithm: str, market: str, seed: int) -> Course:
    """Learn once, with looks on the way."""
    found = list(looks(algorithm, market, seed, n_looks=N_LOOKS))
    return Course(algorithm, market, **asdict(found[-1]), seconds_to_goal=first_to_reach(found, GOAL))


def first_to_reach(found: list[Proof], goal: float) -> float | None:
    """Seconds of learning until the first look that saw the share; None if none did."""
    return next((look.seconds for look in found if look.share >= goal), None)


def as_json(seeds: tuple[int, ...] = SEEDS) -> str:
    """Courses of every algorithm on every market, one after the other on one thread."""
    torch.set_num_threads(1)
    for algorithm in N_STEPS:
        list(looks(algorithm, "sine", 0, n_steps=4_096))  # compiles
    found = [course(name, market, seed) for name in N_STEPS for market in PROOF_MARKETS for seed in seeds]
    return json.dumps([asdict(one) for one in found])


def proof() -> list[Measurement]:
    """Share of the optimum and seconds to 95 % of it, medians of three seeds, in a process of their own."""
    done = subprocess.run(
        [sys.executable, "-c", "from agents.benchmarks.proof_bench import as_json; print(as_json())"],
        cwd=settings.BASE_DIR, capture_output=True, text=True, check=True, timeout=TIMEOUT,
    )  # fmt: skip
    found = [Course(**values) for values in json.loads(done.stdout)]
    return [
        measured([one for one in found if (one.algorithm, one.market) == (name, market)])
        for name in N_STEPS
        for market in PROOF_MARKETS
    ]


def measured(courses: list[Course]) -> Measurement:
    """One algorithm on one market: the median share, beside it every seed's. A goal never reached counts as endless."""
    first = courses[0]
    to_goal = median([math.inf if one.seconds_to_goal is None else one.seconds_to_goal for one in courses])
    return Measurement(
        f"proof: {first.algorithm} on {first.market}", median([one.share for one in courses]), "of the optimum", 1.0,
        "best possible policy, by dynamic programming with the same costs",
        {
            "shares": [round(one.share, 3) for one in courses],
            f"seconds_to_{GOAL:.0%}": None if math.isinf(to_goal) else round(to_goal, 1),
            "seconds": round(median([one.seconds for one in courses]), 1),
            "cpu_seconds": round(median([one.cpu_seconds for one in courses]), 1),
            "steps": first.steps,
        },
    )  # fmt: skip
