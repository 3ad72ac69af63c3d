"""Agents, what they were trained into, how that was proven, and every decision they made."""

from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from core.models import Book, Instrument, JobRow
from marketdata.models import DAY, Stream


class Agent(JobRow):
    """One strategy: an algorithm on an instrument, trading its own book of the account."""

    name = models.SlugField(max_length=60, unique=True)
    algorithm = models.CharField(max_length=24, help_text="A name known to agents/algorithms, such as ppo or sac.")
    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, related_name="agents")
    interval_seconds = models.IntegerField(default=DAY)
    stream = models.ForeignKey(Stream, null=True, blank=True, on_delete=models.PROTECT, related_name="agents")
    book = models.OneToOneField(Book, on_delete=models.PROTECT, related_name="agent")
    deployed_version = models.ForeignKey(
        "ModelVersion", null=True, blank=True, on_delete=models.PROTECT, related_name="deployments"
    )
    deploy_when_proven = models.BooleanField(
        default=True, help_text="On paper, a new version that passes its backtest starts trading by itself."
    )
    last_bar_time = models.DateTimeField(null=True, blank=True, help_text="Last bar it has completely dealt with.")
    policy_memory = models.JSONField(
        default=dict, blank=True, help_text="What a recurrent network remembers after `last_bar_time`."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Refuse an algorithm that nobody has registered. Raises: ValidationError."""
        from agents.algorithms import names  # the registry is read only where an agent is checked or shown

        if self.algorithm not in names():
            known = ", ".join(names())
            raise ValidationError({"algorithm": f"There is no algorithm {self.algorithm!r}; choose one of {known}."})

    @property
    def algorithm_label(self) -> str:
        """The algorithm's name as people write it."""
        from agents.algorithms import label  # the registry is read only where a name is shown

        return label(self.algorithm)

    @property
    def configuration(self) -> "AgentConfiguration":
        """The newest configuration. Raises: DoesNotExist if the agent has none."""
        return self.configurations.latest("version")


class AgentConfiguration(models.Model):
    """One version of an agent's settings; never edited, a change adds a version."""

    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="configurations")
    version = models.PositiveIntegerField()
    data = models.JSONField(help_text="Features, market rules, reward weights, training; see docs/configuration.md.")
    created_by = models.CharField(max_length=80, default="system")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["agent", "-version"]
        constraints = [models.UniqueConstraint(fields=["agent", "version"], name="configuration_version_once")]

    def __str__(self) -> str:
        return f"{self.agent.name} settings v{self.version}"


class TrainingPlan(models.Model):
    """A list of trainings carried out one after the other, with limits on time."""

    name = models.CharField(max_length=80)
    max_minutes = models.PositiveIntegerField(
        null=True, blank=True, help_text="For all of them together; what has not begun by then is left out."
    )
    created_by = models.CharField(max_length=80, default="system")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.name


class TrainingRun(JobRow):
    """One retraining: a study, the best parameters, one look at the unseen period, one model version."""

    class Mode(models.TextChoices):
        FULL = "full", "full training"
        TEST = "test", "test, takes seconds"

    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="training_runs")
    configuration = models.ForeignKey(AgentConfiguration, on_delete=models.PROTECT, related_name="training_runs")
    seed = models.PositiveIntegerField(default=1)
    phase = models.CharField(max_length=60, blank=True)
    progress = models.FloatField(default=0, help_text="0 to 1.")
    n_trials = models.PositiveIntegerField(default=0)
    n_steps_done = models.BigIntegerField(default=0)
    n_steps_total = models.BigIntegerField(default=0)
    steps_per_second = models.FloatField(default=0)
    study_name = models.CharField(max_length=80, blank=True)
    mode = models.CharField(max_length=8, choices=Mode, default=Mode.FULL)
    backend = models.CharField(max_length=8, default="cpu", help_text="cpu, cuda or tpu.")
    n_workers = models.PositiveIntegerField(default=0, help_text="Processes that carry out trials; 0 chooses.")
    max_minutes = models.PositiveIntegerField(
        null=True, blank=True, help_text="No new trial begins after that; the best so far is published."
    )
    keep_best = models.BooleanField(
        default=False, help_text="An operator asked to stop and to publish the best version found so far."
    )
    plan = models.ForeignKey(TrainingPlan, null=True, blank=True, on_delete=models.SET_NULL, related_name="runs")
    queued = models.BooleanField(default=False, help_text="Waits for its turn; begins when a place is free.")
    position = models.IntegerField(default=0, help_text="Place among the waiting; the lowest comes first.")
    not_before = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=120, blank=True, help_text="Why it was asked for, in a few words.")
    eta_seconds = models.FloatField(null=True, blank=True)
    worked_seconds = models.FloatField(default=0, help_text="Time spent working, pauses and crashes left out.")
    resources = models.JSONField(default=dict, blank=True, help_text="CPU share, memory and more, newest.")
    weights_sha256 = models.CharField(max_length=64, blank=True, help_text="Of the final weights.")
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    created_by = models.CharField(max_length=80, default="system")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.agent.name} run {self.pk}"


class Trial(models.Model):
    """One try of a study: parameters, result on the validation period, how long it took."""

    class State(models.TextChoices):
        RUNNING = "running", "running"
        DONE = "done", "done"
        PRUNED = "pruned", "stopped early"
        FAILED = "failed", "failed"

    run = models.ForeignKey(TrainingRun, on_delete=models.CASCADE, related_name="trials")
    number = models.PositiveIntegerField()
    state = models.CharField(max_length=8, choices=State, default=State.RUNNING)
    seed = models.PositiveIntegerField()
    parameters = models.JSONField(default=dict)
    value = models.FloatField(null=True, blank=True, help_text="Median score over folds and seeds.")
    objectives = models.JSONField(
        default=dict, blank=True, help_text="Medians by name: sharpe, drawdown, turnover, for studies of several aims."
    )
    parts = models.JSONField(
        default=list, blank=True, help_text="One entry per fold and seed: fold, seed, score, metrics, weights_sha256."
    )
    metrics = models.JSONField(default=dict, blank=True)
    worker = models.CharField(max_length=80, blank=True, help_text="Host and process that carried it out.")
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    progress = models.FloatField(default=0, help_text="0 to 1.")
    started_at = models.DateTimeField(null=True, blank=True)
    duration_seconds = models.FloatField(null=True, blank=True)
    is_best = models.BooleanField(default=False)

    class Meta:
        ordering = ["run", "number"]
        constraints = [models.UniqueConstraint(fields=["run", "number"], name="trial_once")]

    def __str__(self) -> str:
        return f"run {self.run_id} trial {self.number}"


class TrainingPoint(models.Model):
    """One moment of a learning curve, as the pages draw it."""

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(TrainingRun, on_delete=models.CASCADE, related_name="points")
    part = models.CharField(max_length=40, help_text="What was learning: trial-3/fold-1/seed-0, or final/seed-0.")
    step = models.BigIntegerField(help_text="Environment steps of that part.")
    time = models.DateTimeField(default=timezone.now)
    values = models.JSONField(
        help_text="Numbers by name: loss/…, reward/…, action/…, episode_return, steps_per_second, score, cpu, memory."
    )

    class Meta:
        ordering = ["run", "id"]
        indexes = [models.Index(fields=["run", "part", "step"])]

    def __str__(self) -> str:
        return f"run {self.run_id} {self.part} at step {self.step}"


class ModelVersion(models.Model):
    """A trained policy and all that is needed to trust it and to make it again."""

    class State(models.TextChoices):
        REGISTERED = "registered", "registered, not yet proven"
        PROVEN = "proven", "passed its backtest"
        REFUSED = "refused", "failed its backtest"
        DEPLOYED = "deployed", "trading"
        ARCHIVED = "archived", "archived"

    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="model_versions")
    version = models.PositiveIntegerField()
    run = models.OneToOneField(TrainingRun, on_delete=models.PROTECT, related_name="model_version")
    state = models.CharField(max_length=10, choices=State, default=State.REGISTERED)
    file = models.CharField(max_length=200, help_text="File name inside the models folder.")
    sha256 = models.CharField(max_length=64, help_text="Of the whole file; loading is refused when it differs.")
    weights_sha256 = models.CharField(max_length=64, help_text="Of the weights alone; equal seeds give equal hashes.")
    seed = models.PositiveIntegerField()
    data_fingerprint = models.CharField(max_length=64)
    code_version = models.CharField(max_length=64)
    library_versions = models.JSONField(default=dict)
    features = models.JSONField(default=list)
    normaliser = models.JSONField(default=dict)
    parameters = models.JSONField(default=dict)
    metrics = models.JSONField(default=dict)
    study_name = models.CharField(max_length=80)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["agent", "-version"]
        constraints = [
            models.UniqueConstraint(fields=["agent", "version"], name="model_version_once"),
            models.CheckConstraint(condition=~models.Q(study_name=""), name="model_version_has_a_study"),
        ]

    def __str__(self) -> str:
        return f"{self.agent.name} v{self.version}"


class Backtest(models.Model):
    """One run of a model version over bars it was not trained on, against buying and holding."""

    class Period(models.TextChoices):
        VALIDATION = "validation", "validation"
        UNSEEN = "unseen", "unseen"

    model_version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="backtests")
    period = models.CharField(max_length=10, choices=Period)
    from_time = models.DateTimeField()
    to_time = models.DateTimeField()
    n_bars = models.PositiveIntegerField()
    metrics = models.JSONField(default=dict)
    baseline_metrics = models.JSONField(default=dict, help_text="Buying on the first bar and holding, same costs.")
    curve = models.JSONField(
        default=dict, help_text="Lists of equal length: time (seconds), equity, baseline, exposure."
    )
    trades = models.JSONField(default=list)
    reward_components = models.JSONField(default=dict)
    checks = models.JSONField(default=list, help_text="Deployment checks: name, passed, value, limit.")
    passed = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.model_version} {self.period}"


class Decision(models.Model):
    """What an agent wanted at the close of one bar, why, and what the risk gate said. A hypertable."""

    class Verdict(models.TextChoices):
        NO_ORDER = "no_order", "no order wanted"
        APPROVED = "approved", "allowed"
        RESIZED = "resized", "smaller order allowed"
        DENIED = "denied", "denied"

    time = models.DateTimeField(help_text="Start of the bar at whose close it was made.")
    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="decisions")
    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, related_name="decisions")
    model_version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="decisions")
    configuration = models.ForeignKey(AgentConfiguration, on_delete=models.PROTECT, related_name="decisions")
    action = models.FloatField(help_text="Choice number, or target position from -1 to 1.")
    label = models.CharField(max_length=12, help_text="buy, sell or hold: what the policy wanted.")
    confidence = models.FloatField(help_text="0 to 1.")
    close = models.FloatField()
    quantity_before = models.FloatField()
    quantity_wanted = models.FloatField()
    quantity_allowed = models.FloatField()
    verdict = models.CharField(max_length=10, choices=Verdict)
    reason_code = models.CharField(max_length=40, blank=True)
    observation = models.JSONField(default=dict, help_text="Every input by name, before normalisation.")
    rationale = models.JSONField(
        default=dict, help_text="Words, preferences, contributions, what would have changed it, checks."
    )
    equity = models.FloatField()
    reward = models.FloatField(null=True, blank=True)
    reward_components = models.JSONField(default=dict, blank=True)
    latency_ms = models.JSONField(default=dict, blank=True)
    recorded_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-time", "-id"]
        constraints = [models.UniqueConstraint(fields=["agent", "time"], name="decision_once_per_bar")]

    def __str__(self) -> str:
        return f"{self.agent.name} {self.label} at {self.time:%Y-%m-%d %H:%M}"
