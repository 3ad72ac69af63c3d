"""What `manage.py bench` measures in this room; each bench is imported only when it runs."""

from collections.abc import Callable
from importlib import import_module

from core.measurement import Measurement


def _bench(name: str) -> Callable[[], list[Measurement]]:
    return lambda: import_module(f"marketdata.benches.{name}").run()


BENCHES: dict[str, Callable[[], list[Measurement]]] = {
    name: _bench(name) for name in ("ingest", "features", "query", "live")
}
