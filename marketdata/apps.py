from django.apps import AppConfig


class MarketdataConfig(AppConfig):
    name = "marketdata"
    verbose_name = "Market data"

    def ready(self) -> None:
        from core.job_kinds import JobKind, announce
        from marketdata.models import Fetch, Stream

        announce(JobKind("stream", 2, Stream, "run_stream", hung_after_seconds=20))
        announce(JobKind("fetch", 4, Fetch, "run_fetch", hung_after_seconds=120))
