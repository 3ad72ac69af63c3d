"""Addresses of the desk's pages, panels, data and buttons."""

from django.urls import path

from agents import controls, decisions, proofs, records, views
from agents.training_pages import study_view, training_controls, training_views

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
    path("training/", training_views.training_list, name="training"),
    path("training/form/", training_views.start_form, name="training-form"),
    path("training/new/", training_controls.training_new, name="training-new"),
    path("training/plan/", training_controls.training_plan, name="training-plan"),
    path("training/panels/<slug:name>/", training_views.panel_view, name="training-panel"),
    path("training/start/<int:agent_id>/", training_controls.training_start, name="training-start"),
    path("training/<int:run_id>/", training_views.training_detail, name="training-run"),
    path("training/<int:run_id>/curves.json", training_views.curves, name="training-curves"),
    path("training/<int:run_id>/curves/<slug:chart>.csv", training_views.curve_csv, name="training-curve-csv"),
    path("training/<int:run_id>/study/", study_view.study, name="study"),
    path("training/<int:run_id>/study/table/", study_view.study_table_panel, name="study-table"),
    path("training/<int:run_id>/study/trials.csv", study_view.study_csv, name="study-csv"),
    path("training/<int:run_id>/study/<int:number>/", study_view.trial_detail, name="trial"),
    path("training/<int:run_id>/ask/<slug:action>/", training_controls.training_ask, name="training-ask"),
    path(
        "training/<int:run_id>/cancel/", training_controls.training_action, {"action": "cancel"}, name="training-cancel"
    ),
    path("training/<int:run_id>/<slug:action>/", training_controls.training_action, name="training-action"),
    path("backtests/", proofs.backtest_list, name="backtests"),
    path("backtests/<int:backtest_id>/", proofs.backtest_detail, name="backtest"),
    path("backtests/<int:backtest_id>/curve.csv", proofs.backtest_curve_csv, name="backtest-curve"),
    path("backtests/<int:backtest_id>/trades.csv", proofs.backtest_trades_csv, name="backtest-trades"),
    path("logs/", records.journal, name="logs"),
]
