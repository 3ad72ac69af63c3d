"""What a policy sees: the window's rows of features, oldest bar first, then its own state."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agents.environment import own_state
from agents.environment.own_state import OwnSpec
from agents.networks.spec import NetworkSpec
from agents.policies.features import FeatureSpec
from agents.policies.normaliser import Scale
from agents.policies.normalisers import AnyNormaliser
from core.simulation.rules import MarketRules

Scales = Scale | Sequence[Scale]


@dataclass(frozen=True, eq=False, kw_only=True)
class PolicyInputs:
    """The parts of a policy that decide what it sees, of one instrument or of several in one account.

    Of I instruments a row holds I * n features, instrument by instrument, and the own state I * m values.
    """

    spec: FeatureSpec  # the n features of one instrument, the same for all
    normaliser: AnyNormaliser  # of all I * n columns side by side
    rules: MarketRules  # of the first instrument
    other_rules: tuple[MarketRules, ...] = ()  # of the second and further ones, in the account's order
    network: NetworkSpec
    own: OwnSpec = own_state.DEFAULT  # the m own values of one instrument, the same for all

    @property
    def n_instruments(self) -> int:
        """Instruments it trades in its account."""
        return 1 + len(self.other_rules)

    @property
    def every_rules(self) -> tuple[MarketRules, ...]:
        """The rules of each instrument, in the account's order."""
        return (self.rules, *self.other_rules)

    @property
    def window(self) -> int:
        """Bars of features it sees at once."""
        return self.network.window

    @property
    def n_columns(self) -> int:
        """Features of one bar, of all instruments together."""
        return self.n_instruments * len(self.spec.names)

    @property
    def n_inputs(self) -> int:
        """Length of an observation."""
        return self.window * self.n_columns + self.n_instruments * len(self.own)

    @property
    def newest(self) -> int:
        """Where the newest bar's features begin in an observation."""
        return (self.window - 1) * self.n_columns

    def scaled_rows(self, values: np.ndarray, scale: Scales | None = None) -> np.ndarray:
        """Rows of features as the network sees them, (w, I * n) float64.

        values: (w, I * n), or (I * n,) for one row; scale: one for all rows, or one for each; None as the normaliser
        is stored.
        """
        rows = np.atleast_2d(np.asarray(values, dtype=float))
        scale = scale or self.normaliser.scale()
        if isinstance(scale, Scale):
            return scale.apply(rows)
        return np.array([one.apply(row) for one, row in zip(scale, rows, strict=True)])

    def observe(self, values: np.ndarray, own: np.ndarray, scale: Scales | None = None) -> np.ndarray:
        """The observation the network expects: the window's rows, oldest first, then scaled own state.

        values: (w, I * n) raw features of the last closed bars, or (I * n,) of the last one; NaN where missing; fewer
        rows than the window mean that there were no bars before; own: (I * m,) raw, from own_state, or own_states for
        several instruments, by the policy's spec; scale: of these bars, where the normaliser is online; None for the
        normaliser as it is stored.
        Returns: (n_inputs,) float32. Raises: ValueError for other numbers of rows or values.
        """
        return self.observe_scaled(self.scaled_rows(values, scale), own)

    def observe_scaled(self, rows: np.ndarray, own: np.ndarray) -> np.ndarray:
        """The same from rows (w, I * n) that are scaled already. Raises: ValueError for more rows than the window."""
        if len(rows) > self.window:
            raise ValueError(f"{len(rows)} rows arrived, the window is {self.window}; pass the last ones only")
        if np.shape(rows)[1:] != (self.n_columns,) or np.size(own) != self.n_instruments * len(self.own):
            raise ValueError(
                f"rows of {np.shape(rows)[1:]} features with {np.size(own)} own values arrived; expected "
                f"({self.n_columns},) with {self.n_instruments * len(self.own)}: those of every instrument side by side"
            )
        found = np.zeros(self.n_inputs, dtype=np.float32)
        end = self.window * self.n_columns
        found[end - rows.size : end] = rows.ravel()
        found[end:] = self.own.scaled(np.reshape(own, (self.n_instruments, -1))).ravel()
        return found

    def current_weight(self, observation: np.ndarray, instrument: int = 0) -> float:
        """Position value / equity of an instrument as the observation tells it."""
        at = self.own.names.index("weight")
        place = self.window * self.n_columns + instrument * len(self.own) + at
        return float(observation[place] / self.own.scale[at])
