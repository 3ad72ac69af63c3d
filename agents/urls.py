"""Addresses of the desk's pages, panels, data and buttons."""

from django.urls import path

from agents import controls, decisions, proofs, records, views

urlpatterns = [
    path("", views.dashboard, name="dashboard"),
    path("panels/<slug:name>/", views.panel_view, name="panel"),
    path("api/chart/<int:agent_id>", views.chart_data, name="chart-data"),
    path("agents/", views.agent_list, name="agents"),
    path("agents/<slug:name>/", views.agent_detail, name="agent"),
    path("agents/<int:agent_id>/<slug:action>/", controls.agent_action, name="agent-action"),
    path("streams/<int:stream_id>/speed/", controls.stream_speed, name="stream-speed"),
    path("streams/<int:stream_id>/<slug:action>/", controls.stream_action, name="stream-action"),
    path("decisions/", decisions.decision_list, name="decisions"),
    path("decisions/<slug:agent>/<int:seconds>/", decisions.decision_detail, name="decision"),
    path("orders/", records.order_list, name="orders"),
    path("orders/trades.csv", records.trades_csv, name="trades-csv"),
    path("training/", proofs.training_list, name="training"),
    path("training/<int:run_id>/", proofs.training_detail, name="training-run"),
    path("training/start/<int:agent_id>/", controls.training_start, name="training-start"),
    path("training/<int:run_id>/cancel/", controls.training_cancel, name="training-cancel"),
    path("backtests/", proofs.backtest_list, name="backtests"),
    path("backtests/<int:backtest_id>/", proofs.backtest_detail, name="backtest"),
    path("backtests/<int:backtest_id>/curve.csv", proofs.backtest_curve_csv, name="backtest-curve"),
    path("backtests/<int:backtest_id>/trades.csv", proofs.backtest_trades_csv, name="backtest-trades"),
    path("logs/", records.journal, name="logs"),
]
