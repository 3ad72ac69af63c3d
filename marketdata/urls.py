"""Addresses of the Data page, its cards and its buttons, under /data/. Symbols come last: they may hold a slash."""

from django.urls import path

from marketdata import explorer_controls as controls
from marketdata import explorer_upload as upload
from marketdata import views

urlpatterns = [
    path("", views.explorer, name="data"),
    path("panels/<slug:name>/", views.panel_view, name="data-panel"),
    path("search/", views.search, name="data-search"),
    path("instruments/new/", controls.instrument_new, name="instrument-new"),
    path("streams/new/", controls.stream_new, name="stream-new"),
    path("streams/<int:stream_id>/stop/", controls.stream_stop, name="data-stream-stop"),
    path("streams/<int:stream_id>/delete/", controls.stream_delete, name="data-stream-delete"),
    path("streams/<int:stream_id>/<slug:action>/", controls.stream_action, name="data-stream-action"),
    path("fetches/new/", controls.fetch_new, name="fetch-new"),
    path("fetches/<int:fetch_id>/cancel/", controls.fetch_cancel, name="fetch-cancel"),
    path("imports/new/", upload.import_new, name="import-new"),
    path("imports/<int:import_id>/problems.csv", views.problems_csv, name="import-problems"),
    path("imports/<slug:token>/look/", upload.import_look, name="import-look"),
    path("imports/<slug:token>/start/", upload.import_start, name="import-start"),
    path("faults/<int:fault_id>/clear/", controls.fault_clear, name="fault-clear"),
    path("faults/check/<path:symbol>/", controls.check_now, name="check-now"),
    path("<path:symbol>/bars.csv", views.bars_csv, name="data-bars-csv"),
    path("<path:symbol>/bars", views.bars, name="data-bars"),
    path("<path:symbol>/", views.explorer, name="data-instrument"),
]
