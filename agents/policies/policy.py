"""A trained policy as it is served: plain torch layers rebuilt from a safetensors file, never code or pickle.

Serving is deterministic: the action with the highest score, or the centre of the distribution.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch

from agents.environment import own_state
from agents.environment.actions import CHOICE, STEPS, TARGET
from agents.environment.own_state import OwnSpec
from agents.networks.network import ServedNetwork
from agents.networks.spec import GAUSSIAN, LOGITS, HeadSpec, NetworkSpec
from agents.policies import normalisers, policy_file
from agents.policies.features import FeatureSpec
from agents.policies.normalisers import AnyNormaliser
from agents.policies.policy_decide import PolicyDecisions, Rules, aligned
from agents.policies.policy_file import PolicyFileError
from agents.policies.policy_observe import Scales
from core.simulation.rules import MarketRules

__all__ = ["N_ACTIONS", "PolicyFileError", "Rules", "Scales", "ServedPolicy", "aligned"]

# What each action's head may be: how many actions it has to choose from, 1 for a continuous one.
N_ACTIONS = {CHOICE: 3, STEPS: 9, TARGET: 1}


@dataclass(frozen=True, eq=False, kw_only=True)
class ServedPolicy(PolicyDecisions):
    """A policy with all it needs to act: features, normaliser, the rules it was trained under, and its network.

    What it sees is in policy_observe.py, how it decides in policy_decide.py; here is how it is made and kept.
    """

    algorithm: str  # what it learned with, such as ppo

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
        other_rules: Sequence[MarketRules] = (),
    ) -> Self:
        """Build the network and fill it. weights: by the names of ServedNetwork's parameters.

        other_rules: of the second and further instruments, where it trades several; the normaliser is of all their
        columns side by side.
        Raises: PolicyFileError if the parts do not fit together, naming the missing, extra or misshapen tensor.
        """
        if N_ACTIONS.get(actions) != head.n_actions or not algorithm:
            raise PolicyFileError(
                f"algorithm {algorithm!r} with actions {actions!r} and a {head.kind} head of {head.n_actions}; "
                f"expected one of {', '.join(N_ACTIONS)} with a head that fits"
            )
        n_instruments, n_scaled = 1 + len(other_rules), len(normaliser.scale().centre)
        if head.n_instruments != n_instruments:
            raise PolicyFileError(
                f"rules of {n_instruments} instruments with a head for {head.n_instruments}; expected one of each"
            )
        n_columns, n_own = n_instruments * len(spec.names), n_instruments * len(own)
        if n_scaled != n_columns:
            each = f" of {n_instruments} instruments" if n_instruments > 1 else ""
            raise PolicyFileError(f"{len(spec.names)} features{each} but a normaliser for {n_scaled}")
        columns = [number for option, number in network.options.items() if option.endswith("_column")]
        if any(column >= len(spec.names) for column in columns):
            raise PolicyFileError(f"the network uses column {max(columns)} of {len(spec.names)} features")
        layers = ServedNetwork(network, head, n_columns, n_own)
        policy_file.fill(layers, weights)
        return cls(
            algorithm=algorithm, actions=actions, spec=spec, normaliser=normaliser, rules=rules, network=network,
            head=head, own=own, layers=layers, other_rules=tuple(other_rules),
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
        about: dict[str, Any] = {
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
        if self.other_rules:  # files of one instrument say what they have always said
            about["other_rules"] = [rules.to_dict() for rules in self.other_rules]
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
            others = tuple(MarketRules.from_dict(rules) for rules in about.get("other_rules", ()))
            return cls.from_parts(
                **parts, actions=about["actions"], network=network, head=head, weights=weights, other_rules=others
            )
        except PolicyFileError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PolicyFileError(f"not a policy file: {error}") from error
