"""A trained policy as it is served: plain torch layers rebuilt from a safetensors file, never code or pickle.

Serving is deterministic: the action with the highest score, or the centre of the distribution.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch

from agents import normalisers, own_state, policy_file
from agents.actions import CHOICE, KINDS, STEPS, TARGET
from agents.features import FeatureSpec
from agents.networks.network import ServedNetwork
from agents.networks.spec import GAUSSIAN, LOGITS, HeadSpec, NetworkSpec
from agents.networks.transformer import Transformer
from agents.normaliser import Scale
from agents.normalisers import AnyNormaliser
from agents.outputs import LABELS, PolicyOutput, choice_output, target_output
from agents.own_state import OwnSpec
from agents.policy_file import PolicyFileError
from core.simulation import kernel
from core.simulation.rules import MarketRules

# What each action's head may be: how many actions it has to choose from, 1 for a continuous one.
N_ACTIONS = {CHOICE: 3, STEPS: 9, TARGET: 1}
Scales = Scale | Sequence[Scale]


@dataclass(frozen=True, eq=False, kw_only=True)
class ServedPolicy:
    """A policy with all it needs to act: features, normaliser, the rules it was trained under, and its network."""

    algorithm: str  # what it learned with, such as ppo
    actions: str  # choice, steps or target
    spec: FeatureSpec
    normaliser: AnyNormaliser
    rules: MarketRules
    network: NetworkSpec
    head: HeadSpec
    own: OwnSpec = own_state.DEFAULT
    layers: ServedNetwork = field(repr=False)

    @classmethod
    def from_parts(
        cls,
        *,
        algorithm: str,
        actions: str,
        spec: FeatureSpec,
        normaliser: AnyNormaliser,
        rules: MarketRules,
        network: NetworkSpec,
        head: HeadSpec,
        weights: Mapping[str, torch.Tensor],
        own: OwnSpec = own_state.DEFAULT,
    ) -> Self:
        """Build the network and fill it. weights: by the names of ServedNetwork's parameters.

        Raises: PolicyFileError if the parts do not fit together, naming the missing, extra or misshapen tensor.
        """
        if N_ACTIONS.get(actions) != head.n_actions or not algorithm:
            raise PolicyFileError(
                f"algorithm {algorithm!r} with actions {actions!r} and a {head.kind} head of {head.n_actions}; "
                f"expected one of {', '.join(N_ACTIONS)} with a head that fits"
            )
        n_scaled = len(normaliser.scale().centre)
        if n_scaled != len(spec.names):
            raise PolicyFileError(f"{len(spec.names)} features but a normaliser for {n_scaled}")
        columns = [number for option, number in network.options.items() if option.endswith("_column")]
        if any(column >= len(spec.names) for column in columns):
            raise PolicyFileError(f"the network uses column {max(columns)} of {len(spec.names)} features")
        layers = ServedNetwork(network, head, len(spec.names), len(own))
        policy_file.fill(layers, weights)
        return cls(
            algorithm=algorithm, actions=actions, spec=spec, normaliser=normaliser, rules=rules, network=network,
            head=head, own=own, layers=layers,
        )  # fmt: skip

    @classmethod
    def from_weights(
        cls,
        algorithm: str,
        spec: FeatureSpec,
        normaliser: AnyNormaliser,
        rules: MarketRules,
        hidden: tuple[int, ...],
        activation: str,
        weights: Mapping[str, torch.Tensor],
        own: OwnSpec = own_state.DEFAULT,
    ) -> Self:
        """The policy of a plain network as the first file format has it: ppo on three choices or sac on a target.

        weights: body.<i>.weight/bias per hidden layer, head.weight/bias and, for sac, deviation_head.weight/bias.
        Raises: PolicyFileError.
        """
        if algorithm not in ("ppo", "sac"):
            raise PolicyFileError(f"unknown algorithm {algorithm!r}; the first format knows ppo and sac")
        try:
            network = NetworkSpec(hidden=tuple(hidden), activation=activation)
        except ValueError as error:
            raise PolicyFileError(str(error)) from error
        return cls.from_parts(
            algorithm=algorithm,
            actions=CHOICE if algorithm == "ppo" else TARGET,
            spec=spec,
            normaliser=normaliser,
            rules=rules,
            network=network,
            head=HeadSpec(LOGITS, 3) if algorithm == "ppo" else HeadSpec(GAUSSIAN),
            weights=weights,
            own=own,
        )

    @property
    def window(self) -> int:
        """Bars of features it sees at once."""
        return self.network.window

    @property
    def n_inputs(self) -> int:
        """Length of an observation."""
        return self.window * len(self.spec.names) + len(self.own)

    @property
    def newest(self) -> int:
        """Where the newest bar's features begin in an observation."""
        return (self.window - 1) * len(self.spec.names)

    def weights(self) -> dict[str, torch.Tensor]:
        """The tensors by name, float32."""
        return {name: parameter.detach().clone() for name, parameter in self.layers.named_parameters()}

    def weights_sha256(self) -> str:
        """SHA-256 (hex) of names, shapes and values alone: equal seeds give equal hashes."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.weights().items()):
            digest.update(f"{name}{tuple(tensor.shape)}".encode())
            digest.update(tensor.numpy().astype("<f4").tobytes())
        return digest.hexdigest()

    def to_bytes(self) -> bytes:
        """The policy as a safetensors file; the same policy always gives the same bytes."""
        about = {
            "format": policy_file.FORMAT,
            "algorithm": self.algorithm,
            "actions": self.actions,
            "features": list(self.spec.names),
            "own_state": list(self.own.names),
            "normaliser": self.normaliser.to_dict(),
            "rules": self.rules.to_dict(),
            "network": self.network.to_dict(),
            "head": self.head.to_dict(),
        }
        return policy_file.pack(about, self.weights())

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The reverse of to_bytes, for both formats. Raises: PolicyFileError if the bytes are no policy file."""
        about, weights = policy_file.unpack(data)
        try:
            parts = {
                "algorithm": about["algorithm"],
                "spec": FeatureSpec(tuple(about["features"])),
                "normaliser": normalisers.from_dict(about["normaliser"]),
                "rules": MarketRules.from_dict(about["rules"]),
                "own": OwnSpec(tuple(about.get("own_state", own_state.DEFAULT_NAMES))),
            }
            if about["format"] == policy_file.FIRST_FORMAT:
                hidden, activation = tuple(about["hidden"]), about["activation"]
                return cls.from_weights(**parts, hidden=hidden, activation=activation, weights=weights)
            network, head = NetworkSpec.from_dict(about["network"]), HeadSpec.from_dict(about["head"])
            return cls.from_parts(**parts, actions=about["actions"], network=network, head=head, weights=weights)
        except PolicyFileError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PolicyFileError(f"not a policy file: {error}") from error

    def scaled_rows(self, values: np.ndarray, scale: Scales | None = None) -> np.ndarray:
        """Rows of features as the network sees them, (w, n) float64.

        values: (w, n), or (n,) for one row; scale: one for all rows, or one for each; None as the normaliser is stored.
        """
        rows = np.atleast_2d(np.asarray(values, dtype=float))
        scale = scale or self.normaliser.scale()
        if isinstance(scale, Scale):
            return scale.apply(rows)
        return np.array([one.apply(row) for one, row in zip(scale, rows, strict=True)])

    def observe(self, values: np.ndarray, own: np.ndarray, scale: Scales | None = None) -> np.ndarray:
        """The observation the network expects: the window's rows, oldest first, then scaled own state.

        values: (w, n) raw features of the last closed bars, or (n,) of the last one; NaN where missing; fewer rows
        than the window mean that there were no bars before; own: (m,) raw, from own_state by the policy's spec;
        scale: of these bars, where the normaliser is online; None for the normaliser as it is stored.
        Returns: (window * n + m,) float32.
        """
        return self.observe_scaled(self.scaled_rows(values, scale), own)

    def observe_scaled(self, rows: np.ndarray, own: np.ndarray) -> np.ndarray:
        """The same from rows (w, n) that are scaled already. Raises: ValueError for more rows than the window."""
        if len(rows) > self.window:
            raise ValueError(f"{len(rows)} rows arrived, the window is {self.window}; pass the last ones only")
        found = np.zeros(self.n_inputs, dtype=np.float32)
        end = self.window * len(self.spec.names)
        found[end - rows.size : end] = rows.ravel()
        found[end:] = self.own.scaled(own)
        return found

    def current_weight(self, observation: np.ndarray) -> float:
        """Position value / equity as the observation tells it."""
        at = self.own.names.index("weight")
        return float(observation[self.window * len(self.spec.names) + at] / self.own.scale[at])

    def start(self) -> np.ndarray:
        """What the network remembers before its first bar, (n_memory,) float32; empty for one without a memory."""
        return np.zeros(self.layers.n_memory, dtype=np.float32)

    def decide(
        self, observation: np.ndarray, memory: np.ndarray | None = None, mask: np.ndarray | None = None
    ) -> PolicyOutput:
        """What the policy wants, without any draw.

        observation: (n_inputs,) float32 from observe; memory: the one the bar before left, None for start();
        mask: (n_actions,) bool, which actions make sense, needed by a head that learned with masks.
        Raises: ValueError for another shape, NaN, or a mask that is missing or allows nothing.
        """
        self.check(observation, memory)
        if self.head.masked and (mask is None or np.shape(mask) != (self.head.n_actions,) or not np.any(mask)):
            raise ValueError(f"this policy learned with masks and needs one of {self.head.n_actions}, got {mask!r}")
        with torch.inference_mode():
            row = aligned(observation)[None]
            before = None if memory is None or not len(memory) else aligned(memory)[None]
            scores, log_deviation, after = self.layers.step(row, before)
            found = scores[0].double().numpy()
            remembered = self.start() if after is None else after[0].numpy().copy()
        if not self.head.is_continuous:
            return choice_output(found, self.head, mask if self.head.masked else None, remembered)
        deviation = None if log_deviation is None else float(np.exp(float(log_deviation[0])))
        weight = self.current_weight(observation)
        return target_output(self.head, float(found[0]), deviation, weight, self.rules, remembered)

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
        """Signed quantity the action aims at, by the kernel's sizing; rules default to those it was trained under."""
        vector = (rules or self.rules).as_array()
        numbers = (float(action), float(quantity), float(equity), float(close))
        return float(kernel.target_for_action(KINDS[self.actions], *numbers, vector))

    def mask(self, quantity: float, equity: float, close: float, rules: MarketRules | None = None) -> np.ndarray | None:
        """Which actions make sense, (n_actions,) bool, as the environment masks them; None where masks play no part.

        Holding always does; buying where it would raise the quantity, selling where it would lower it.
        """
        if not self.head.masked:
            return None
        wanted = [self.target_quantity(i, quantity, equity, close, rules) for i in range(self.head.n_actions)]
        change, labels = np.array(wanted) - quantity, np.array(LABELS[self.head.n_actions])
        return (labels == "hold") | ((labels == "buy") & (change > 0)) | ((labels == "sell") & (change < 0))

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
