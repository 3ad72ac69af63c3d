"""Model versions: from a trained policy to a file that can be trusted, proven and deployed."""

import hashlib
import platform
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from django.conf import settings as django_settings
from django.db import transaction
from django.db.models import Max

from agents.checks import check_all
from agents.configuration import parse
from agents.models import Agent, Backtest, ModelVersion, TrainingRun
from agents.policies.policy import PolicyFileError, ServedPolicy
from agents.runs import backends
from core.files import write_file
from core.journal import record
from core.notices import notify

LIBRARIES = (
    "torch", "stable_baselines3", "sb3-contrib", "gymnasium", "numpy", "numba", "TA-Lib", "optuna", "safetensors",
)  # fmt: skip


class ModelRefused(Exception):
    """A model may not be registered, loaded or deployed; the message says which and why."""


@dataclass(frozen=True)
class Provenance:
    """Where a policy comes from."""

    seed: int
    data_fingerprint: str
    parameters: dict[str, Any]
    metrics: dict[str, Any]
    study_name: str


@transaction.atomic
def register(run: TrainingRun, policy: ServedPolicy, provenance: Provenance) -> ModelVersion:
    """Write the policy's file and its row. A run makes one version: asked twice, the first is returned.

    Raises: ModelRefused without a study, since untuned models are not allowed.
    """
    if not provenance.study_name:
        raise ModelRefused(f"{run} has no study: every version comes from one; start a training instead")
    agent = Agent.objects.select_for_update().get(pk=run.agent_id)
    existing = ModelVersion.objects.filter(run=run).first()
    if existing is not None:
        return existing
    number = (agent.model_versions.aggregate(last=Max("version"))["last"] or 0) + 1
    data = policy.to_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    name = f"{agent.name}-v{number}-{sha256[:8]}.safetensors"
    write_file(models_dir() / name, data)
    model = ModelVersion.objects.create(
        agent=agent,
        version=number,
        run=run,
        file=name,
        sha256=sha256,
        weights_sha256=policy.weights_sha256(),
        seed=provenance.seed,
        data_fingerprint=provenance.data_fingerprint,
        code_version=code_version(),
        library_versions=library_versions(run.backend),
        features=list(policy.spec.names),
        normaliser=policy.normaliser.to_dict(),
        parameters=provenance.parameters,
        metrics=provenance.metrics,
        study_name=provenance.study_name,
    )
    record(
        "model.registered",
        f"{model} registered",
        subject=f"agent:{agent.pk}",
        data={"version": model.pk, "sha256": sha256},
    )
    return model


def load(model: ModelVersion) -> ServedPolicy:
    """The policy in a version's file. Raises: ModelRefused if the file is missing, changed, or not a policy."""
    path = models_dir() / model.file
    if path.parent != models_dir():
        raise ModelRefused(f"{model}: the file name {model.file!r} leads out of the models folder")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelRefused(
            f"{model}: {model.file} cannot be read ({error.strerror}); restore it or deploy another"
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if found != model.sha256:
        raise ModelRefused(
            f"{model}: {model.file} has been changed: its SHA-256 is {found[:12]}…, registered was "
            f"{model.sha256[:12]}…; restore the original file or deploy another version"
        )
    try:
        return ServedPolicy.from_bytes(data)
    except PolicyFileError as error:
        raise ModelRefused(f"{model}: {model.file}: {error}") from error


@transaction.atomic
def prove(model: ModelVersion, backtest: Backtest) -> bool:
    """Judge a version by its backtest on the unseen period; the row says proven or refused from then on.

    Raises: ModelRefused if the backtest is another version's or of another period.
    """
    if backtest.model_version_id != model.pk or backtest.period != Backtest.Period.UNSEEN:
        raise ModelRefused(f"{model} is proven by its own backtest on the unseen period, not by {backtest}")
    configured = parse(model.agent.algorithm, model.run.configuration.data)
    checks = check_all(backtest.metrics, configured.deploy_checks)
    passed = all(check["passed"] for check in checks)
    backtest.checks, backtest.passed = checks, passed
    backtest.save(update_fields=["checks", "passed"])
    if model.state in (ModelVersion.State.REGISTERED, ModelVersion.State.PROVEN, ModelVersion.State.REFUSED):
        model.state = ModelVersion.State.PROVEN if passed else ModelVersion.State.REFUSED
        model.save(update_fields=["state"])
    failed = ", ".join(check["name"] for check in checks if not check["passed"])
    message = f"{model} passed its backtest" if passed else f"{model} failed its backtest: {failed}"
    record(
        "model.proven" if passed else "model.refused", message, level="info" if passed else "attention",
        subject=f"agent:{model.agent_id}", data={"version": model.pk, "backtest": backtest.pk},
    )  # fmt: skip
    notify("backtest", backtest=backtest.pk)
    return passed


@transaction.atomic
def deploy(model: ModelVersion, actor: str) -> None:
    """Let a version trade; the one before goes to the archive, from where it may come back.

    Raises: ModelRefused if it has not passed its backtest on the unseen period, or its file is not as registered.
    """
    agent = Agent.objects.select_for_update().get(pk=model.agent_id)
    model.refresh_from_db()
    proven = model.state in (ModelVersion.State.PROVEN, ModelVersion.State.ARCHIVED, ModelVersion.State.DEPLOYED)
    if not proven or not model.backtests.filter(period=Backtest.Period.UNSEEN, passed=True).exists():
        raise ModelRefused(f"{model} is {model.get_state_display()}: only a version that passed its backtest may trade")
    load(model)
    before = agent.deployed_version
    if before is not None and before.pk != model.pk:
        ModelVersion.objects.filter(pk=before.pk).update(state=ModelVersion.State.ARCHIVED)
    model.state = ModelVersion.State.DEPLOYED
    model.save(update_fields=["state"])
    agent.deployed_version = model
    agent.save(update_fields=["deployed_version"])
    record(
        "model.deployed", f"{model} now trades for {agent.name}", actor=actor, subject=f"agent:{agent.pk}",
        data={"before": before.version if before else None, "after": model.version},
    )  # fmt: skip
    notify("agent", agent=agent.pk)


def models_dir() -> Path:
    """The models folder, created on first use."""
    folder = Path(django_settings.MODELS_DIR)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@cache
def code_version() -> str:
    """What git calls this tree, or the package version of an installation without git."""
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--tags"],
            cwd=django_settings.BASE_DIR, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
        return answer.stdout.strip()[:64]
    except (OSError, subprocess.SubprocessError):
        return _package_version("rl-trading-desk")


def library_versions(backend: str) -> dict[str, str]:
    """Versions of what decides the numbers of a learning on this backend."""
    names = (*LIBRARIES, *backends.libraries(backend))
    return {"python": platform.python_version(), **{name: _package_version(name) for name in names}}


def _package_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
