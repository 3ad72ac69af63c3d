"""5,000 ticks a second from ingest to a browser's chart: what is lost, and how long it takes.

Ticks of one unit each carry the time they were made. The chart's volume says how many of them it has drawn, so the
first drawing that counts a tick is when somebody could see it.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.sessions.backends.db import SessionStore
from django.core.management import CommandError, call_command

from core.measurement import Measurement
from core.models import Instrument
from marketdata.benches.scratch import scratch_database
from marketdata.ticks.series import TickBatch
from marketdata.ticks.store import ingest

RATE = int(os.environ.get("DESK_BENCH_TICK_RATE", 5000))
SECONDS = float(os.environ.get("DESK_BENCH_SECONDS", 60))
BATCH_SECONDS = 0.02
WARM_UP_SECONDS = 3.0
PATIENCE_SECONDS = 5.0  # after the last tick
POLL_SECONDS = 1.0
SYMBOL = "BENCH"


def run() -> list[Measurement]:
    """99th percentile of the time from a tick to its drawing in Chromium, against a page that asks once a second."""
    if not shutil.which("chromium"):
        raise CommandError("this bench draws in Chromium, and none is installed: apt-get install chromium")
    with scratch_database() as name, tempfile.TemporaryDirectory() as folder:
        instrument = Instrument.objects.create(symbol=SYMBOL, name="bench", asset_class="crypto", calendar="24/7")
        ingest(instrument, _ticks(100, _now(), 0), "bench")
        cookie = _session()
        with _server(name) as address, _browser(address, cookie, Path(folder)) as drawn:
            poll = _Poll(address, cookie)
            made = _produce(instrument)
            time.sleep(PATIENCE_SECONDS)
            poll.stop()
            seen = drawn()
        return [_measured(made, seen, poll.seen)]


def _measured(made: np.ndarray, drawn: list[list[float]], polled: list[list[float]]) -> Measurement:
    """made: (N,) seconds at which each tick was made; drawn, polled: [seconds, ticks counted] in order."""
    ours, theirs = _delays(made, drawn), _delays(made, polled)
    n_drawn = int(max((count for _, count in drawn), default=0)) - 100
    return Measurement(
        "live: tick to browser",
        float(np.percentile(ours, 99)) * 1000,
        "ms (99th percentile)",
        float(np.percentile(theirs, 99)) * 1000,
        f"the same page's data asked for every {POLL_SECONDS:g} s",
        {
            "ticks": len(made),
            "lost": len(made) - n_drawn,
            "ticks_per_second": round(len(made) / (made[-1] - made[0])),
            "median_ms": round(float(np.median(ours)) * 1000, 1),
            "most_ms": round(float(np.max(ours)) * 1000, 1),
            "drawings": len(drawn),
        },
    )


def _delays(made: np.ndarray, seen: list[list[float]]) -> np.ndarray:
    """Seconds until each tick was counted; those never counted have waited until the last look and longer."""
    times = np.array([moment for moment, _ in seen])
    counts = np.maximum.accumulate(np.array([count for _, count in seen]))
    at = np.searchsorted(counts, 100 + np.arange(1, len(made) + 1), side="left")
    found = np.where(at < len(times), times[np.minimum(at, len(times) - 1)], np.inf)
    return (found - made)[made > made[0] + WARM_UP_SECONDS]


def _produce(instrument: Instrument) -> np.ndarray:
    """Send ticks at the wanted rate; a late batch is made up for at once. Returns: when each was made, (N,) seconds."""
    per_batch = round(RATE * BATCH_SECONDS)
    n_batches = round(SECONDS / BATCH_SECONDS)
    made = np.empty(n_batches * per_batch)
    began = time.monotonic()
    for n in range(n_batches):
        wait = began + n * BATCH_SECONDS - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        now = _now()
        ticks = _ticks(per_batch, now, 100 + n * per_batch)
        made[n * per_batch : (n + 1) * per_batch] = now / 1e6
        ingest(instrument, ticks, "bench")
    return made


def _ticks(n: int, microseconds: int, sequence: int) -> TickBatch:
    price = 100 + np.sin(np.arange(sequence, sequence + n) / 5000)
    return TickBatch.trades(
        np.full(n, microseconds), price, np.ones(n), sequence=np.arange(sequence + 1, sequence + n + 1)
    )


def _now() -> int:
    return time.time_ns() // 1000


def _session() -> str:
    """A signed-in operator's cookie."""
    user = get_user_model().objects.create_superuser("bench", password="bench-only-password")
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    return str(session.session_key)


@contextmanager
def _server(database: str) -> Iterator[str]:
    """The desk's pages on the scratch database."""
    call_command("collectstatic", verbosity=0, interactive=False)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    values = settings.DATABASES["default"]
    url = f"postgres://{values['USER']}:{values['PASSWORD']}@{values['HOST']}:{values['PORT']}/{database}"
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "tradingsite.asgi:application", "--port", str(port), "--lifespan", "on",
         "--log-level", "warning", "--timeout-graceful-shutdown", "1"],
        cwd=settings.BASE_DIR,
        env={**os.environ, "DATABASE_URL": url},
    )  # fmt: skip
    try:
        _wait_for(f"http://127.0.0.1:{port}/login/")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(15)


@contextmanager
def _browser(address: str, cookie: str, folder: Path) -> Iterator[Callable[[], list[list[float]]]]:
    """Chromium in a process of its own, looking at the chart. Yields: a function that ends it and gives what it saw."""
    out = folder / "drawn.json"
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "marketdata.benches.live_browser",
            f"{address}/data/{SYMBOL}/?interval=60",
            cookie,
            str(out),
        ],
        cwd=settings.BASE_DIR,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdin is not None and process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise CommandError("Chromium did not open the chart")

        def drawn() -> list[list[float]]:
            process.communicate("stop\n", timeout=30)
            return json.loads(out.read_text())

        yield drawn
    finally:
        process.kill()
        process.wait()


class _Poll:
    """What most dashboards do: ask for the chart once in a while."""

    def __init__(self, address: str, cookie: str) -> None:
        self.seen: list[list[float]] = []
        self._request = urllib.request.Request(
            f"{address}/data/{SYMBOL}/bars?interval=60", headers={"Cookie": f"sessionid={cookie}"}
        )
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            with urllib.request.urlopen(self._request, timeout=10) as answer:
                bars = json.load(answer)["bars"]
            self.seen.append([time.time(), sum(bar[5] for bar in bars)])


def _wait_for(address: str) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(address, timeout=2).close()
            return
        except OSError:
            time.sleep(0.1)
    raise CommandError("the pages did not start within 30 s")
