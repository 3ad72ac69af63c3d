"""Which kinds of job there are; each room announces its own, so that core need not know them."""

from dataclasses import dataclass

from core.models import JobRow


@dataclass(frozen=True)
class JobKind:
    """One kind of long-running job and the command that runs it."""

    name: str  # such as "agent"; a row is named "agent:3"
    number: int  # first half of the advisory lock; never reused for another kind
    model: type[JobRow]
    command: str  # manage.py command taking the row's id
    hung_after_seconds: float  # without a heartbeat for this long the process is killed and started again


_kinds: dict[str, JobKind] = {}


def announce(kind: JobKind) -> None:
    """Make a kind known. Called from an app's ready()."""
    _kinds[kind.name] = kind


def find(name: str) -> JobKind:
    """The kind of that name. Raises: KeyError naming the kinds there are."""
    if name not in _kinds:
        raise KeyError(f"no kind of job is called {name!r}; known: {', '.join(sorted(_kinds))}")
    return _kinds[name]


def all_kinds() -> list[JobKind]:
    """Every announced kind, by lock number."""
    return sorted(_kinds.values(), key=lambda kind: kind.number)
