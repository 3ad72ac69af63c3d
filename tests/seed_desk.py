"""Fills an empty database with a small desk that wants to run, and writes what the fast backtest says will happen.

Usage: seed_desk.py EXPECTED.json BARS BARS_PER_SECOND
"""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tradingsite.settings")


def main() -> None:
    """Two agents, one of each algorithm, on streams of their own."""
    import django

    django.setup()
    from django.core.management import call_command

    from core.operators import ensure_operator
    from marketdata.models import Stream
    from tests.desk import expected_of, small_desk

    target, n_bars, speed = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    call_command("migrate", verbosity=0)
    expected = {}
    for seed, algorithm in enumerate(("ppo", "sac"), start=1):
        desk = small_desk(algorithm, n_bars=n_bars, name=f"{algorithm}-agent", seed=seed)
        Stream.objects.filter(pk=desk.stream.pk).update(bars_per_second=speed, desired_state="running")
        expected[desk.agent.name] = expected_of(desk)
    expected["password"] = ensure_operator()
    target.write_text(json.dumps(expected))


if __name__ == "__main__":
    main()
