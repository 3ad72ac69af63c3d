"""Where a learning stands, in one file: safetensors behind a checksum, written whole or not at all. Pure.

Layout: 8 bytes magic, 32 bytes SHA-256 of the rest, then safetensors whose metadata names the lesson.
"""

import hashlib
import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from core.files import write_file
from core.simulation.compiled import PROJECT, project_files

MAGIC = b"DESKCKP1"
START = len(MAGIC) + 32


class CheckpointUnusable(ValueError):
    """The file is damaged or of another lesson; the learning must start anew."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Arrays by name and plain values beside them."""

    arrays: dict[str, np.ndarray]
    about: dict[str, Any] = field(default_factory=dict)  # fit for JSON


def fingerprint(lesson: dict[str, Any]) -> str:
    """SHA-256 (hex) of everything that decides a learning's numbers, given as plain values."""
    return hashlib.sha256(json.dumps(lesson, sort_keys=True, default=str).encode()).hexdigest()


@cache
def code_fingerprint(*places: Path) -> str:
    """SHA-256 (hex) of project files, those in folders included, and of every project file that they import."""
    whole = [place.resolve() for place in places]
    sources = [file for place in whole for file in (place.rglob("*.py") if place.is_dir() else [place])]
    digest = hashlib.sha256()
    for path in sorted(set().union(*(project_files(source) for source in sources))):
        digest.update(f"{path.relative_to(PROJECT)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def write(path: Path, checkpoint: Checkpoint, lesson: str) -> int:
    """Write the file. lesson: fingerprint of what is learned. Returns: its size in bytes."""
    about = json.dumps({"lesson": lesson, "about": checkpoint.about})
    arrays = {name: np.require(array, requirements=["C"]) for name, array in checkpoint.arrays.items()}
    body = safetensors.numpy.save(arrays, {"checkpoint": about})
    write_file(path, b"".join((MAGIC, hashlib.sha256(body).digest(), body)))
    return START + len(body)


def read(path: Path, lesson: str) -> Checkpoint:
    """Read the file. Raises: FileNotFoundError; CheckpointUnusable if it is damaged or of another lesson."""
    data = path.read_bytes()
    body = data[START:]
    if data[: len(MAGIC)] != MAGIC or hashlib.sha256(body).digest() != data[len(MAGIC) : START]:
        raise CheckpointUnusable(f"{path.name} is damaged or no checkpoint")
    try:
        length = int.from_bytes(body[:8], "little")
        told = json.loads(json.loads(body[8 : 8 + length])["__metadata__"]["checkpoint"])
        arrays = safetensors.numpy.load(body)
    except (ValueError, KeyError, safetensors.SafetensorError) as error:
        raise CheckpointUnusable(f"{path.name} cannot be read: {error}") from error
    if told["lesson"] != lesson:
        raise CheckpointUnusable(
            f"{path.name} belongs to another lesson: settings, data, seed, libraries or the desk's code differ"
        )
    return Checkpoint(arrays, told["about"])
