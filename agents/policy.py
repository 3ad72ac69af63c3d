"""A trained policy as it is served: plain torch layers rebuilt from a safetensors file, never code or pickle.

Serving is deterministic: PPO takes its most likely choice, SAC the centre of its distribution.
"""

import hashlib
import json
import struct
from dataclasses import dataclass
from itertools import pairwise
from math import erf, inf, sqrt
from typing import Self

import numpy as np
import safetensors.torch
import torch

from agents import normalisers, own_state
from agents.features import FeatureSpec
from agents.normaliser import Scale
from agents.normalisers import AnyNormaliser
from agents.own_state import OwnSpec
from core.simulation import first_kernel as kernel
from core.simulation.rules import MarketRules

FORMAT = "desk-policy-1"
CHOICES = ("hold", "buy", "sell")  # by the kernel's choice numbers
ACTIVATIONS: dict[str, type[torch.nn.Module]] = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}
LOG_DEVIATION_MIN, LOG_DEVIATION_MAX = -20.0, 2.0  # SAC's own limits, as in Stable-Baselines3
NEAR = 0.25  # a draw this close to the target counts as agreeing with it


class PolicyFileError(ValueError):
    """The file is no policy of ours or does not fit together; train again or fetch the right file."""


@dataclass(frozen=True)
class PolicyOutput:
    """What the policy wants at one close."""

    action: float  # choice number, or target position from -1 to 1 as the network gives it
    label: str  # buy, sell or hold
    confidence: float  # 0 to 1
    preferences: dict[str, float]  # share per label, summing to 1
    target: float | None = None  # SAC: the position meant, 0 for a negative action without short selling
    mean: float | None = None  # SAC: centre of the distribution before tanh
    deviation: float | None = None  # SAC: standard deviation before tanh


@dataclass(frozen=True, eq=False)
class ServedPolicy:
    """A policy with all it needs to act: features, normaliser, the rules it was trained under, and its layers.

    algorithm ppo: body, then `head` gives the logits of hold, buy, sell. algorithm sac: `head` gives the mean and
    `deviation_head` the log standard deviation, both before tanh.
    """

    algorithm: str
    spec: FeatureSpec
    normaliser: AnyNormaliser
    rules: MarketRules
    hidden: tuple[int, ...]
    activation: str
    body: torch.nn.Sequential
    head: torch.nn.Linear
    deviation_head: torch.nn.Linear | None
    own: OwnSpec = own_state.DEFAULT

    @classmethod
    def from_weights(
        cls,
        algorithm: str,
        spec: FeatureSpec,
        normaliser: AnyNormaliser,
        rules: MarketRules,
        hidden: tuple[int, ...],
        activation: str,
        weights: dict[str, torch.Tensor],
        own: OwnSpec = own_state.DEFAULT,
    ) -> Self:
        """Build the layers and fill them.

        weights: body.<i>.weight/bias per hidden layer, head.weight/bias and, for sac, deviation_head.weight/bias.
        Raises: PolicyFileError naming the missing, extra or misshapen tensor.
        """
        if algorithm not in ("ppo", "sac") or activation not in ACTIVATIONS:
            raise PolicyFileError(f"unknown algorithm {algorithm!r} or activation {activation!r}; expected ppo or sac")
        sizes = (len(spec.names) + len(own), *hidden)
        n_scaled = len(normaliser.scale().centre)
        if n_scaled != len(spec.names):
            raise PolicyFileError(f"{len(spec.names)} features but a normaliser for {n_scaled}")
        layers: list[torch.nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [torch.nn.Linear(inputs, outputs), ACTIVATIONS[activation]()]
        body = torch.nn.Sequential(*layers)
        head = torch.nn.Linear(sizes[-1], 3 if algorithm == "ppo" else 1)
        deviation = torch.nn.Linear(sizes[-1], 1) if algorithm == "sac" else None
        policy = cls(algorithm, spec, normaliser, rules, tuple(hidden), activation, body, head, deviation, own)
        policy._fill(weights)
        return policy

    def _linears(self) -> dict[str, torch.nn.Linear]:
        found = [layer for layer in self.body if isinstance(layer, torch.nn.Linear)]
        named = {f"body.{number}": layer for number, layer in enumerate(found)}
        named["head"] = self.head
        if self.deviation_head is not None:
            named["deviation_head"] = self.deviation_head
        return named

    def _fill(self, weights: dict[str, torch.Tensor]) -> None:
        own = {f"{name}.{part}": getattr(layer, part) for name, layer in self._linears().items() for part in _PARTS}
        if set(own) != set(weights):
            raise PolicyFileError(f"tensors {sorted(weights)} arrived, expected {sorted(own)}")
        with torch.no_grad():
            for name, parameter in own.items():
                if parameter.shape != weights[name].shape:
                    raise PolicyFileError(
                        f"{name} has shape {tuple(weights[name].shape)}, not {tuple(parameter.shape)}"
                    )
                if not torch.isfinite(weights[name]).all():
                    raise PolicyFileError(f"{name} holds NaN or infinity: the training had diverged; train again")
                parameter.copy_(weights[name])
                parameter.requires_grad_(False)

    def weights(self) -> dict[str, torch.Tensor]:
        """The tensors by name, float32."""
        return {
            f"{name}.{part}": getattr(layer, part).detach().clone()
            for name, layer in self._linears().items()
            for part in _PARTS
        }

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
            "format": FORMAT,
            "algorithm": self.algorithm,
            "features": list(self.spec.names),
            "normaliser": self.normaliser.to_dict(),
            "rules": self.rules.to_dict(),
            "hidden": list(self.hidden),
            "activation": self.activation,
        }
        if self.own != own_state.DEFAULT:  # left out, as files older than the choice have it
            about["own_state"] = list(self.own.names)
        # One metadata entry: safetensors does not keep the order of several.
        return safetensors.torch.save(self.weights(), {"policy": json.dumps(about, sort_keys=True)})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The reverse of to_bytes. Raises: PolicyFileError if the bytes are no policy file."""
        try:
            (length,) = struct.unpack("<Q", data[:8])
            about = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["policy"])
            weights = safetensors.torch.load(data)
            if about["format"] != FORMAT:
                raise ValueError(f"format {about['format']!r}, expected {FORMAT!r}")
            parts = (
                about["algorithm"],
                FeatureSpec(tuple(about["features"])),
                normalisers.from_dict(about["normaliser"]),
                MarketRules.from_dict(about["rules"]),
                tuple(about["hidden"]),
                about["activation"],
            )
            own = OwnSpec(tuple(about.get("own_state", own_state.DEFAULT_NAMES)))
        except (ValueError, KeyError, TypeError, AttributeError, struct.error, safetensors.SafetensorError) as error:
            raise PolicyFileError(f"not a policy file: {error}") from error
        return cls.from_weights(*parts, weights, own)

    def observe(self, values: np.ndarray, own: np.ndarray, scale: Scale | None = None) -> np.ndarray:
        """The observation the network expects: normalised features, then scaled own state.

        values: (n,) raw features of the last closed bar, NaN where missing; own: (m,) raw, from own_state by the
        policy's spec; scale: of this bar, where the normaliser is online; None for the normaliser as it is stored.
        Returns: (n + m,) float32.
        """
        scale = scale or self.normaliser.scale()
        return np.concatenate([scale.apply(values), self.own.scaled(own)]).astype(np.float32)

    def current_weight(self, observation: np.ndarray) -> float:
        """Position value / equity as the observation tells it."""
        at = self.own.names.index("weight")
        return float(observation[len(self.spec.names) + at] / self.own.scale[at])

    def decide(self, observation: np.ndarray) -> PolicyOutput:
        """What the policy wants, without any draw.

        observation: (n + m,) float32 from observe. Raises: ValueError for another shape or NaN.
        """
        self.check(observation)
        with torch.no_grad():
            hidden = self.body(torch.as_tensor(observation, dtype=torch.float32)[None])
            head = self.head(hidden)[0].double().numpy()
            if self.deviation_head is None:
                return choice_output(head)
            log_deviation = float(self.deviation_head(hidden)[0, 0])
        deviation = float(np.exp(np.clip(log_deviation, LOG_DEVIATION_MIN, LOG_DEVIATION_MAX)))
        return target_output(float(head[0]), deviation, self.current_weight(observation), self.rules)

    def check(self, observation: np.ndarray) -> None:
        """Raises: ValueError unless the observation has the right shape and no NaN."""
        expected = (len(self.spec.names) + len(self.own),)
        if np.shape(observation) != expected or not np.isfinite(observation).all():
            raise ValueError(
                f"observation has shape {np.shape(observation)} or holds NaN; expected {expected}, all finite, "
                "as ServedPolicy.observe makes it"
            )

    def target_quantity(
        self, action: float, quantity: float, equity: float, close: float, rules: MarketRules | None = None
    ) -> float:
        """Signed quantity the action aims at, by the kernel's sizing; rules default to those it was trained under."""
        vector = (rules or self.rules).as_array()
        if self.algorithm == "ppo":
            return float(kernel.target_for_choice(int(action), float(quantity), float(equity), float(close), vector))
        return float(kernel.target_for_weight(float(action), float(quantity), float(equity), float(close), vector))


_PARTS = ("weight", "bias")


def choice_output(logits: np.ndarray) -> PolicyOutput:
    """PPO's output from the logits (3,) of hold, buy, sell: the preferences are their softmax."""
    shares = np.exp(logits - logits.max())
    shares /= shares.sum()
    choice = int(np.argmax(logits))
    preferences = {CHOICES[index]: float(shares[index]) for index in range(3)}
    return PolicyOutput(float(choice), CHOICES[choice], float(shares[choice]), preferences)


def target_output(mean: float, deviation: float, weight: float, rules: MarketRules) -> PolicyOutput:
    """SAC's output from its distribution before tanh and the current weight.

    Without short selling a negative target means flat. Confidence: the chance that a draw, limited in the same way,
    lands within 0.25 of the target. Preferences: the chance that a draw would buy, hold or sell from this weight.
    """
    lowest = -1.0 if rules.short_selling else 0.0
    action = float(np.tanh(mean))
    target = max(action, lowest)
    # Everything below the lowest position counts as the lowest, so its whole chance lies there.
    low = -inf if target - NEAR <= lowest else target - NEAR
    confidence = below(target + NEAR, mean, deviation) - below(low, mean, deviation)
    label, preferences = target_label(action, weight, rules), target_preferences(mean, deviation, weight, rules)
    return PolicyOutput(action, label, confidence, preferences, target, mean, deviation)


def below(action: float, mean: float, deviation: float) -> float:
    """Chance that tanh of a normal draw is at most `action`."""
    if action >= 1.0 or action <= -1.0:
        return 1.0 if action >= 1.0 else 0.0
    return 0.5 * (1.0 + erf((float(np.arctanh(action)) - mean) / (deviation * sqrt(2.0))))


def target_label(action: float, weight: float, rules: MarketRules) -> str:
    """buy, sell or hold: where a target position leads from the current weight, the no-trade band regarded."""
    wanted = min(max(action, -1.0 if rules.short_selling else 0.0), 1.0) * rules.max_weight
    change = wanted - weight
    if change == 0.0 or (wanted != 0.0 and abs(change) < rules.no_trade_band):
        return "hold"
    return "buy" if change > 0 else "sell"


def target_preferences(mean: float, deviation: float, weight: float, rules: MarketRules) -> dict[str, float]:
    """Chance that a draw would hold, buy or sell from the current weight."""
    up = (weight + rules.no_trade_band) / rules.max_weight
    down = (weight - rules.no_trade_band) / rules.max_weight
    if not rules.short_selling:
        up = max(up, 0.0)
        # Flat is always allowed, band or not; from flat there is nothing to sell.
        down = max(down, 0.0) if weight > 0 else -inf
    buy = 1.0 - below(up, mean, deviation)
    sell = below(down, mean, deviation)
    return {"hold": max(1.0 - buy - sell, 0.0), "buy": buy, "sell": sell}
