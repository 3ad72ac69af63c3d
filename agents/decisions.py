"""Decisions: the table with filters, and one decision with its reasons as page or drawer."""

from datetime import UTC, datetime
from typing import Any

from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.vary import vary_on_headers

from agents.models import Agent, Decision
from core.models import Fill, Order

ROWS_PER_PAGE = 50
# In the order in which they happen: a JSON column keeps no order.
STEPS = {
    "fills_and_value": "Bar closed, fills booked, equity taken",
    "features_and_policy": "Features computed, policy asked",
    "risk_gate": "Risk gate passed or not",
    "explanation": "Reasons worked out",
    "stored": "Decision and order stored",
    "sent": "Sent to the broker",
}


def decision_list(request: HttpRequest) -> HttpResponse:
    """Newest first, by agent and verdict."""
    rows = Decision.objects.select_related("agent", "instrument").order_by("-id")
    agent, verdict = request.GET.get("agent", ""), request.GET.get("verdict", "")
    if agent:
        rows = rows.filter(agent__name=agent)
    if verdict in Decision.Verdict.values:
        rows = rows.filter(verdict=verdict)
    page = Paginator(rows, ROWS_PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "page": page,
        "agents": Agent.objects.order_by("name"),
        "verdicts": Decision.Verdict.choices,
        "agent": agent,
        "verdict": verdict,
    }
    return render(request, "agents/decisions.html", context)


@vary_on_headers("HX-Request")
def decision_detail(request: HttpRequest, agent: str, seconds: int) -> HttpResponse:
    """One decision; the drawer asks for the same address and gets the inner part only."""
    decision = find_decision(agent, seconds)
    template = "agents/_decision.html" if getattr(request, "htmx", False) else "agents/decision.html"
    return render(request, template, {"decision": decision, **reasons(decision)})


def find_decision(agent: str, seconds: int) -> Decision:
    """The decision an agent made on the bar that starts at `seconds`. Raises: Http404."""
    try:
        time = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):
        raise Http404(f"{seconds} is not a time.") from None
    rows = Decision.objects.select_related("agent", "instrument", "model_version", "configuration")
    return get_object_or_404(rows, agent__name=agent, time=time)


def reasons(decision: Decision) -> dict[str, Any]:
    """What the drawer shows besides the row: order, fills, bars of equal scale, steps, neighbours."""
    order = Order.objects.filter(decision_id=decision.pk, book=decision.agent.book_id).first()
    contributions = decision.rationale.get("contributions", [])
    same_agent = Decision.objects.filter(agent=decision.agent)
    return {
        "order": order,
        "fills": list(Fill.objects.filter(order=order).order_by("time", "id")) if order else [],
        "looked_at": looked_at(decision.rationale.get("attention", [])),
        "largest": max((abs(row.get("contribution", 0)) for row in contributions), default=1) or 1,
        "steps": [(label, decision.latency_ms[name]) for name, label in STEPS.items() if name in decision.latency_ms],
        "headline": headline(decision, order),
        "earlier": same_agent.filter(time__lt=decision.time).order_by("-time").first(),
        "later": same_agent.filter(time__gt=decision.time).order_by("time").first(),
    }


def looked_at(attention: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The bars a transformer looked at: when, its share, and the share beside the largest; most looked at first."""
    largest = max((row["share"] for row in attention), default=0.0) or 1.0
    return [{"when": _ago(row["bars_ago"]), "share": row["share"], "of_largest": row["share"] / largest}
        for row in attention]  # fmt: skip


def _ago(n_bars: int) -> str:
    return {0: "this bar", 1: "1 bar ago"}.get(n_bars, f"{n_bars} bars ago")


def headline(decision: Decision, order: Order | None) -> tuple[str, str]:
    """Words and colour of the pill at the top: what came of the decision."""
    symbol = decision.instrument.symbol
    if decision.verdict == Decision.Verdict.DENIED:
        return f"Order for {symbol} denied", "loss"
    if order is None:
        return (f"Holds {symbol}" if decision.quantity_before else f"Stays out of {symbol}"), ""
    buys = order.side == Order.Side.BUY
    amount = f"{(order.filled_quantity or order.quantity).normalize():,f}"
    if order.status == Order.Status.FILLED:
        return f"{'Bought' if buys else 'Sold'} {amount} {symbol}", "gain" if buys else "loss"
    return f"{'Buy' if buys else 'Sell'} {amount} {symbol}: {order.get_status_display()}", "warn"
