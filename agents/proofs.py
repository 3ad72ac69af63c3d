"""Backtest pages: what a policy proved."""

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from agents.models import Backtest
from agents.records import csv_response
from agents.reports import report, small_curves

ROWS_PER_PAGE = 25


def backtest_list(request: HttpRequest) -> HttpResponse:
    """Every backtest with its result against buying and holding."""
    rows = Backtest.objects.select_related("model_version__agent__instrument", "model_version__run").order_by("-id")
    page = Paginator(rows, ROWS_PER_PAGE).get_page(request.GET.get("page"))
    curves = [(row, small_curves(row, 60)) for row in page]
    return render(request, "agents/backtests.html", {"page": page, "rows": curves})


def backtest_detail(request: HttpRequest, backtest_id: int) -> HttpResponse:
    """The report of one backtest."""
    backtest = _backtest(backtest_id)
    return render(request, "agents/backtest.html", {"backtest": backtest, **report(backtest)})


def backtest_curve_csv(request: HttpRequest, backtest_id: int) -> HttpResponse:
    """Equity, baseline and exposure per bar, nothing left out."""
    backtest = _backtest(backtest_id)
    names = ["time", "equity", "baseline", "exposure"]
    columns = [backtest.curve.get(name, []) for name in names]
    return csv_response(f"backtest-{backtest.pk}-curve.csv", names, zip(*columns, strict=False))


def backtest_trades_csv(request: HttpRequest, backtest_id: int) -> HttpResponse:
    """The round trips of a backtest."""
    backtest = _backtest(backtest_id)
    names = list(backtest.trades[0]) if backtest.trades else ["entry_time", "exit_time", "result"]
    rows = ([row.get(name) for name in names] for row in backtest.trades)
    return csv_response(f"backtest-{backtest.pk}-trades.csv", names, rows)


def _backtest(backtest_id: int) -> Backtest:
    rows = Backtest.objects.select_related("model_version__agent__instrument", "model_version__run")
    return get_object_or_404(rows, pk=backtest_id)
