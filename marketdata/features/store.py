"""Calculated features kept on disk: the same specification of the same data is calculated once.

One file per result, `<key>-<checksum>.npy`: the key names specification, data and the versions of the calculation, the
checksum lets a damaged file be found and calculated again. Files are written whole or not at all.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import talib

from marketdata.features.batch import compute
from marketdata.features.catalogue import FeatureList
from marketdata.features.inputs import Inputs

LAYOUT = 1  # raise it when the files mean something else
MOST_BYTES = 4 * 1024**3


class FeatureStore:
    """A folder of results, the ones longest unused removed when it grows beyond `most_bytes`."""

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES) -> None:
        self.folder, self.most_bytes = folder, most_bytes

    def rows(
        self, spec: FeatureList, inputs: Inputs, work: Callable[[FeatureList, Inputs], np.ndarray] | None = None
    ) -> np.ndarray:
        """Features (T, n) of the inputs, read-only and memory-mapped where they come from the disk.

        work: calculates them if need be, batch.compute if not given. A folder that cannot be written to only costs
        the calculation.
        """
        key = self.key(spec, inputs)
        shape = (len(inputs.bars), len(spec))
        found = self._read(key, shape)
        if found is not None:
            return found
        rows = (work or compute)(spec, inputs)
        with suppress(OSError):
            self._write(key, rows)
            found = self._read(key, shape)
        return rows if found is None else found

    def key(self, spec: FeatureList, inputs: Inputs) -> str:
        """SHA-256 (hex) of all that decides the numbers."""
        versions = f"{LAYOUT}\n{talib.__version__}\n{np.__version__}"
        return hashlib.sha256(f"{versions}\n{spec.fingerprint()}\n{inputs.fingerprint()}".encode()).hexdigest()

    def _read(self, key: str, shape: tuple[int, int]) -> np.ndarray | None:
        for path in self.folder.glob(f"{key}-*.npy"):
            try:
                rows = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError, EOFError):  # cut short, or gone meanwhile
                rows = None
            if rows is not None and rows.shape == shape and path.stem.endswith(_checksum(rows)):
                with suppress(OSError):
                    os.utime(path)  # used now: removed last
                return rows
            with suppress(OSError):
                path.unlink()
        return None

    def _write(self, key: str, rows: np.ndarray) -> None:
        if rows.nbytes > self.most_bytes or rows.size == 0:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self.folder, prefix=".", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                np.save(file, rows, allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self.folder / f"{key}-{_checksum(rows)}.npy")
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        self._shrink()

    def _shrink(self) -> None:
        """Remove the files longest unused until the rest fits."""
        files = []
        for path in self.folder.glob("*.npy"):
            with suppress(OSError):
                seen = path.stat()
                files.append((seen.st_mtime_ns, seen.st_size, path))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files)[:-1]:
            if total <= self.most_bytes:
                return
            with suppress(OSError):
                path.unlink()
            total -= size


def _checksum(rows: np.ndarray) -> str:
    return f"{zlib.crc32(np.ascontiguousarray(rows).data):08x}"
