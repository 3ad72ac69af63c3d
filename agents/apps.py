from django.apps import AppConfig


class AgentsConfig(AppConfig):
    name = "agents"

    def ready(self) -> None:
        from agents.models import Agent, TrainingRun
        from core.job_kinds import JobKind, announce

        announce(JobKind("agent", 1, Agent, "run_agent", hung_after_seconds=30))
        announce(JobKind("training", 3, TrainingRun, "run_training", hung_after_seconds=120))
