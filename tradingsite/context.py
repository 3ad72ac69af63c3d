"""What every page shows around its content: mode, account, clock, health, stop button, navigation."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.db.models import Count
from django.http import HttpRequest
from django.urls import reverse

from agents.models import Agent, TrainingRun
from core import health
from core.models import Account
from marketdata.models import Stream
from risk import kill_switch
from risk.models import KillSwitchState

N_STREAMS_SHOWN = 2  # as the top bar's template cuts
THEMES = ("dark", "light")
PAIRS = ("green-red", "blue-orange")


@dataclass(frozen=True)
class Page:
    """One entry of the rail."""

    name: str
    label: str
    icon: str
    prefix: str  # paths that belong to it
    badge: int = 0

    @property
    def url(self) -> str:
        return reverse(self.name)


class Shell:
    """Everything is looked up on first use, so a partial that shows none of it costs nothing."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = request
        theme, pair = request.COOKIES.get("theme"), request.COOKIES.get("pair")
        self.theme = theme if theme in THEMES else THEMES[0]
        self.pair = pair if pair in PAIRS else PAIRS[0]

    @cached_property
    def account(self) -> Account | None:
        return Account.objects.order_by("id").first()

    @property
    def is_live(self) -> bool:
        return self.account is not None and self.account.mode == Account.Mode.LIVE

    @cached_property
    def operator(self) -> bool:
        user = getattr(self.request, "user", None)
        return bool(user and (user.is_staff or user.is_superuser))

    @cached_property
    def streams(self) -> list[Stream]:
        """Replays some agent trades on."""
        return list(Stream.objects.annotate(n_agents=Count("agents")).filter(n_agents__gt=0))

    @property
    def n_more_streams(self) -> int:
        """Replays the top bar has no room for."""
        return max(len(self.streams) - N_STREAMS_SHOWN, 0)

    @cached_property
    def kill(self) -> KillSwitchState | None:
        """The kill switch's state while it is engaged."""
        state = kill_switch.state(self.account) if self.account else None
        return state if state is not None and state.engaged else None

    @cached_property
    def components(self) -> list[Any]:
        return health.components()

    @property
    def health_state(self) -> str:
        states = {component.state for component in self.components}
        return "stopped" if "stopped" in states else "attention" if "attention" in states else "well"

    @property
    def health_text(self) -> str:
        total = len(self.components)
        troubled = [component.name for component in self.components if component.state != "well"]
        if not total:
            return "no component has reported"
        if not troubled:
            return f"All {total} components well"
        if len(troubled) == 1:
            return f"{troubled[0]} needs a look"
        return f"{len(troubled)} of {total} components need a look"

    @cached_property
    def groups(self) -> list[tuple[str, list[Page]]]:
        active = TrainingRun.objects.filter(finished_at=None, started_at__isnull=False).count()
        return [
            (
                "Watch",
                [
                    Page("dashboard", "Dashboard", "layout-dashboard", "/"),
                    Page("agents", "Agents", "bot", "/agents/", Agent.objects.count()),
                    Page("decisions", "Decisions", "list-checks", "/decisions/"),
                    Page("orders", "Orders and trades", "arrow-left-right", "/orders/"),
                ],
            ),
            (
                "Improve",
                [
                    Page("data", "Data", "database", "/data/"),
                    Page("training", "Training", "brain", "/training/", active),
                    Page("backtests", "Backtests", "chart-no-axes-combined", "/backtests/"),
                ],
            ),
            ("Run", [Page("logs", "Logs", "scroll-text", "/logs/")]),
        ]

    @property
    def current(self) -> str:
        """Name of the page in the rail that this request belongs to."""
        pages = [page for _, group in self.groups for page in group]
        path = self.request.path
        for page in pages:
            if path == page.prefix or (page.prefix != "/" and path.startswith(page.prefix)):
                return page.name
        return ""


def shell(request: HttpRequest) -> dict[str, Any]:
    """Context processor: `shell` and the nonce that inline scripts need."""
    return {"shell": Shell(request), "csp_nonce": getattr(request, "csp_nonce", "")}
