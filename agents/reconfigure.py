"""Adding a version of an agent's settings: checked, numbered, journalled, and told to the running process."""

from typing import Any

from django.db import transaction
from django.db.models import F

from agents.agent_settings import settings_of
from agents.models import Agent, AgentConfiguration
from core.journal import record
from core.notices import notify


@transaction.atomic
def add_configuration(agent: Agent, data: dict[str, Any], *, actor: str) -> AgentConfiguration:
    """Make `data` the newest settings of an agent, one version above the last.

    Raises: ConfigurationError naming the setting that is wrong; nothing is stored then.
    """
    # The lock gives two operators who save at once two version numbers.
    agent = Agent.objects.select_for_update().get(pk=agent.pk)
    settings_of(agent, data)
    newest = agent.configurations.order_by("-version").first()
    version = newest.version + 1 if newest else 1
    added = AgentConfiguration.objects.create(agent=agent, version=version, data=data, created_by=actor[:80])
    Agent.objects.filter(pk=agent.pk).update(settings_version=F("settings_version") + 1)
    before, after = _changed(newest.data if newest else {}, data)
    record(
        "agent.configured",
        f"{agent.name} has new settings, version {version}",
        actor=actor,
        subject=f"agent:{agent.pk}",
        data={"before": before, "after": after, "version": version},
    )
    notify("agent", agent=agent.pk)
    return added


def _changed(before: dict[str, Any], after: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    return tuple({key: values[key] for key in keys if key in values} for values in (before, after))  # type: ignore[return-value]
