"""The dashboard, its panels, and the agents' pages."""

from typing import Any

from django.db.models import Sum
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render

from agents.charts import chart
from agents.dashboard import PANELS, AgentView, agent_views, panel, replay
from agents.models import Agent, Backtest
from agents.reports import doubt_of, small_curves
from core.models import Account, Fill, Order

DASHBOARD_PANELS = ("stats", "agents", "positions", "trades", "events", "health", "training", "backtests")
N_FINANCING = 10  # newest amounts of interest and borrow fees on an agent's page


def chosen_agent(request: HttpRequest) -> Agent | None:
    """The agent named by ?agent=, else the first one."""
    agents = Agent.objects.select_related("instrument", "stream", "book", "instrument__underlying")
    wanted = request.GET.get("agent", "")
    if wanted:
        return get_object_or_404(agents, name=wanted)
    return agents.order_by("id").first()


def account_of(request: HttpRequest) -> Account | None:
    """The desk's account; the shell has read it already."""
    return Account.objects.order_by("id").first()


def dashboard(request: HttpRequest) -> HttpResponse:
    """All panels with their data, and the first page of the chart."""
    account, chosen = account_of(request), chosen_agent(request)
    context: dict[str, Any] = {"account": account, "chosen": chosen, "all_agents": list(Agent.objects.order_by("id"))}
    for name in (*DASHBOARD_PANELS, "replay"):
        context |= panel(name, account, chosen, request.GET)
    if chosen is not None:
        context["chart"] = chart(chosen)
    context["reports"] = _reports(context["backtests"])
    return render(request, "agents/dashboard.html", context)


def panel_view(request: HttpRequest, name: str) -> HttpResponse:
    """One panel as a partial; pages fetch it when a notice says that it changed."""
    if name not in PANELS:
        raise Http404(f"There is no panel called {name}.")
    chosen = chosen_agent(request)
    context = panel(name, account_of(request), chosen, request.GET)
    if name == "backtests":
        context["reports"] = _reports(context["backtests"])
    return render(request, f"panels/_{name}.html", {**context, "chosen": chosen})


def _reports(backtests: list[Backtest]) -> list[tuple[Any, ...]]:
    """Backtests, what speaks against each, and a small picture."""
    return [(row, doubt_of(row), small_curves(row)) for row in backtests]


def chart_data(request: HttpRequest, agent_id: int) -> JsonResponse:
    """The chart's numbers; ?since= patches, ?before= pans."""
    agent = get_object_or_404(Agent.objects.select_related("instrument", "stream"), pk=agent_id)
    try:
        since, before = (int(request.GET[name]) if name in request.GET else None for name in ("since", "before"))
    except ValueError:
        return JsonResponse({"error": "since and before are whole epoch seconds"}, status=400)
    return JsonResponse(chart(agent, since=since, before=before))


def agent_list(request: HttpRequest) -> HttpResponse:
    """Every agent's state and result."""
    return render(request, "agents/agents.html", {"agents": agent_views()})


def agent_detail(request: HttpRequest, name: str) -> HttpResponse:
    """One agent: state, settings, model version, what it did."""
    agents = Agent.objects.select_related("instrument", "book", "stream", "deployed_version")
    agent = get_object_or_404(agents, name=name)
    configuration = agent.configurations.order_by("-version").first()
    context = {
        "view": AgentView(agent),
        "configuration": configuration,
        "versions": agent.model_versions.select_related("run").prefetch_related("backtests"),
        "replay": replay(agent.stream),
        "n_orders": Order.objects.filter(book=agent.book).count(),
        "n_fills": Fill.objects.filter(book=agent.book).count(),
        "financing": agent.book.financing.all()[:N_FINANCING],
        "financing_total": agent.book.financing.aggregate(total=Sum("amount"))["total"],
    }
    return render(request, "agents/agent.html", context)
