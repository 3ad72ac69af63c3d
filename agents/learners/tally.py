"""Means of several reports of a learner. Pure."""

from agents.algorithms.base import LearnerReport


class Tally:
    """Adds reports up, each weighted by the steps it stands for."""

    def __init__(self, first_step: int = 0) -> None:
        self.last_step = first_step
        self._forget()

    def _forget(self) -> None:
        self.sums: dict[tuple[str, str], float] = {}
        self.weights: dict[tuple[str, str], float] = {}

    def add(self, report: LearnerReport) -> None:
        """Take one report in."""
        n = report.steps_done - self.last_step
        self.last_step = report.steps_done
        for kind in ("losses", "reward_components", "actions"):
            for name, value in getattr(report, kind).items():
                self._add(kind, name, value, n)
        if report.episode_return is not None:
            self._add("", "episode_return", report.episode_return, n)

    def _add(self, kind: str, name: str, value: float, n: int) -> None:
        key = (kind, name)
        self.sums[key] = self.sums.get(key, 0.0) + n * value
        self.weights[key] = self.weights.get(key, 0.0) + n

    def take(self) -> "Means":
        """The means so far; adding starts anew."""
        means = {key: total / self.weights[key] for key, total in self.sums.items() if self.weights[key]}
        self._forget()
        return Means(means)


class Means:
    """Means by kind and name."""

    def __init__(self, means: dict[tuple[str, str], float]) -> None:
        self.losses, self.reward_components, self.actions = (
            {name: value for (found, name), value in means.items() if found == kind}
            for kind in ("losses", "reward_components", "actions")
        )
        self.episode_return = means.get(("", "episode_return"))

    def scalars(self) -> dict[str, float]:
        """All of them by the names TensorBoard shows."""
        groups = (("loss", self.losses), ("reward", self.reward_components), ("action", self.actions))
        found = {f"{prefix}/{name}": value for prefix, values in groups for name, value in values.items()}
        return found if self.episode_return is None else {**found, "episode_return": self.episode_return}
