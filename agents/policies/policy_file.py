"""The file of a policy: safetensors with one metadata entry in JSON. Nothing in it is ever executed."""

import json
import struct
from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch

FORMAT, FIRST_FORMAT = "desk-policy-2", "desk-policy-1"


class PolicyFileError(ValueError):
    """The file is no policy of ours or does not fit together; train again or fetch the right file."""


def pack(about: dict[str, Any], weights: dict[str, torch.Tensor]) -> bytes:
    """Words and tensors as a file; equal ones always give equal bytes."""
    # One metadata entry: safetensors does not keep the order of several.
    return safetensors.torch.save(weights, {"policy": json.dumps(about, sort_keys=True)})


def unpack(data: bytes) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The reverse of pack, of either format. Raises: PolicyFileError if the bytes are no policy file."""
    try:
        (length,) = struct.unpack("<Q", data[:8])
        about = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["policy"])
        weights = safetensors.torch.load(data)
        if about["format"] not in (FORMAT, FIRST_FORMAT):
            raise ValueError(f"format {about['format']!r}, expected {FORMAT!r} or {FIRST_FORMAT!r}")
    except (ValueError, KeyError, TypeError, AttributeError, struct.error, safetensors.SafetensorError) as error:
        raise PolicyFileError(f"not a policy file: {error}") from error
    return about, weights


def fill(layers: torch.nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Copy the tensors in; nothing learns from then on.

    Raises: PolicyFileError naming the missing, extra, misshapen or diverged one.
    """
    own = dict(layers.named_parameters())
    if set(own) != set(weights):
        raise PolicyFileError(f"tensors {sorted(weights)} arrived, expected {sorted(own)}")
    with torch.no_grad():
        for name, parameter in own.items():
            if parameter.shape != weights[name].shape:
                raise PolicyFileError(f"{name} has shape {tuple(weights[name].shape)}, not {tuple(parameter.shape)}")
            if not torch.isfinite(weights[name]).all():
                raise PolicyFileError(f"{name} holds NaN or infinity: the training had diverged; train again")
            parameter.copy_(weights[name])
            parameter.requires_grad_(False)
