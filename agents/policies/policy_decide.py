"""How a policy decides: from what it sees to what it wants of each of its instruments. Always without any draw."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from agents.environment.actions import KINDS
from agents.networks.network import ServedNetwork
from agents.networks.spec import HeadSpec
from agents.networks.transformer import Transformer
from agents.policies.outputs import LABELS, PolicyOutput, choice_output, target_output
from agents.policies.policy_observe import PolicyInputs
from core.simulation import kernel
from core.simulation.rules import MarketRules

Rules = MarketRules | Sequence[MarketRules] | None  # one for all instruments, or one each; None: the policy's own
Numbers = Sequence[float] | np.ndarray


@dataclass(frozen=True, eq=False, kw_only=True)
class PolicyDecisions(PolicyInputs):
    """A policy's network and head, and what they make of an observation."""

    actions: str  # choice, steps or target
    head: HeadSpec
    layers: ServedNetwork = field(repr=False)

    def start(self) -> np.ndarray:
        """What the network remembers before its first bar, (n_memory,) float32; empty for one without a memory."""
        return np.zeros(self.layers.n_memory, dtype=np.float32)

    def decide(
        self, observation: np.ndarray, memory: np.ndarray | None = None, mask: np.ndarray | None = None
    ) -> PolicyOutput:
        """What a policy of one instrument wants; see decide_all. Raises: ValueError as it, and for several."""
        self._one("decide_all")
        return self.decide_all(observation, memory, mask)[0]

    def decide_all(
        self, observation: np.ndarray, memory: np.ndarray | None = None, mask: np.ndarray | None = None
    ) -> tuple[PolicyOutput, ...]:
        """What the policy wants of each of its instruments; every output holds the memory they share.

        observation: (n_inputs,) float32 from observe; memory: the one the bar before left, None for start();
        mask: (I * n_actions,) bool, which actions make sense, needed by a head that learned with masks.
        Raises: ValueError for another shape, NaN, or a mask that is missing or allows an instrument nothing.
        """
        self.check(observation, memory)
        masks = self._by_instrument(mask)
        with torch.inference_mode():
            row = aligned(observation)[None]
            before = None if memory is None or not len(memory) else aligned(memory)[None]
            scores, log_deviation, after = self.layers.step(row, before)
            found = scores[0].double().numpy().reshape(self.n_instruments, -1)
            remembered = self.start() if after is None else after[0].numpy().copy()
        if not self.head.is_continuous:
            return tuple(choice_output(one, self.head, its, remembered) for one, its in zip(found, masks, strict=True))
        logarithms = None if log_deviation is None else log_deviation[0].tolist()
        return tuple(
            target_output(
                self.head, float(found[i, 0]), None if logarithms is None else float(np.exp(logarithms[i])),
                self.current_weight(observation, i), rules, remembered,
            )
            for i, rules in enumerate(self.every_rules)
        )  # fmt: skip

    def _one(self, instead: str) -> None:
        """Raises: ValueError if it trades several instruments."""
        if self.n_instruments > 1:
            raise ValueError(f"this policy trades {self.n_instruments} instruments at once; use {instead}")

    def _by_instrument(self, mask: np.ndarray | None) -> list[np.ndarray | None]:
        """The part of a mask that concerns each instrument, None where masks play no part. Raises: ValueError."""
        if not self.head.masked:
            return [None] * self.n_instruments
        n = self.head.n_scores
        if mask is None or np.shape(mask) != (n,) or not np.reshape(mask, (self.n_instruments, -1)).any(axis=1).all():
            raise ValueError(f"this policy learned with masks and needs one of {n}, got {mask!r}")
        return list(np.reshape(mask, (self.n_instruments, -1)))

    def check(self, observation: np.ndarray, memory: np.ndarray | None = None) -> None:
        """Raises: ValueError unless observation and memory have the right shape and no NaN."""
        expected = (self.n_inputs,)
        if np.shape(observation) != expected or not np.isfinite(observation).all():
            raise ValueError(
                f"observation has shape {np.shape(observation)} or holds NaN; expected {expected}, all finite, "
                "as ServedPolicy.observe makes it"
            )
        n_memory = (self.layers.n_memory,)
        if memory is not None and (np.shape(memory) != n_memory or not np.isfinite(memory).all()):
            raise ValueError(
                f"memory has shape {np.shape(memory)} or holds NaN; expected {n_memory}, as decide left it"
            )

    def target_quantity(
        self, action: float, quantity: float, equity: float, close: float, rules: MarketRules | None = None
    ) -> float:
        """Signed quantity the action aims at, by the kernel's sizing; rules default to the first instrument's."""
        numbers = (float(action), float(quantity), float(equity), float(close))
        return float(kernel.target_for_action(KINDS[self.actions], *numbers, (rules or self.rules).as_array()))

    def mask(self, quantity: float, equity: float, close: float, rules: MarketRules | None = None) -> np.ndarray | None:
        """As masks, for a policy of one instrument. Raises: ValueError for several."""
        self._one("masks")
        return self.masks([quantity], equity, [close], rules)

    def masks(self, quantities: Numbers, equity: float, closes: Numbers, rules: Rules = None) -> np.ndarray | None:
        """Which actions make sense, (I * n_actions,) bool, as the environment masks them; None where none are needed.

        quantities, closes: (I,); equity: of the whole account. Holding always makes sense; buying where it would raise
        the quantity, selling where it would lower it. Raises: ValueError for other numbers of them.
        """
        if not self.head.masked:
            return None
        parts = zip(quantities, closes, self.rules_of(rules), strict=True)
        return np.concatenate([self._mask(held, equity, close, its) for held, close, its in parts])

    def _mask(self, quantity: float, equity: float, close: float, rules: MarketRules) -> np.ndarray:
        wanted = [self.target_quantity(i, quantity, equity, close, rules) for i in range(self.head.n_actions)]
        change, labels = np.array(wanted) - quantity, np.array(LABELS[self.head.n_actions])
        return (labels == "hold") | ((labels == "buy") & (change > 0)) | ((labels == "sell") & (change < 0))

    def rules_of(self, rules: Rules = None) -> tuple[MarketRules, ...]:
        """The given rules for each instrument, else its own. Raises: ValueError for another number of them."""
        if rules is None:
            return self.every_rules
        found = (rules,) * self.n_instruments if isinstance(rules, MarketRules) else tuple(rules)
        if len(found) != self.n_instruments:
            raise ValueError(
                f"{len(found)} rules for {self.n_instruments} instruments arrived; give one for all, or one each"
            )
        return found

    def attention(self, observation: np.ndarray) -> dict[str, list[Any]] | None:
        """Where a transformer looked: the newest bar's attention in its last block; None for other networks.

        Returns: heads, a list of W shares per head, oldest bar first, each summing to 1; bars: their mean, (W,).
        """
        if not isinstance(self.layers.encoder, Transformer):
            return None
        self.check(observation)
        with torch.inference_mode():
            row = aligned(observation)[None]
            heads = self.layers.encoder.looks(row)[0].double()
        return {"heads": heads.tolist(), "bars": heads.mean(dim=0).tolist()}


def aligned(values: np.ndarray, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A copy in torch's own memory: sums are taken in another order, and end in other last digits, where an array does
    not begin at a multiple of 64 bytes, and a restarted process would find other numbers than the one before.
    """
    return torch.tensor(values, dtype=dtype)
