from pathlib import Path

import numpy as np
import pytest

from agents.learners import checkpoint
from agents.learners.checkpoint import Checkpoint, CheckpointUnusable
from agents.runs.lesson import CODE, Lesson
from agents.tests import worlds
from core.simulation.compiled import PROJECT

ARRAYS = {
    "float": np.array([[1.5, -0.0], [np.inf, 1e-300]]),
    "words": np.arange(3, dtype=np.uint32),
    "long": np.array([2**63 + 5], dtype=np.uint64),
    "flag": np.array([True, False]),
    "empty": np.zeros((0, 4), np.float32),
    "scalar": np.array(7.25),
    "turned": np.arange(6).reshape(2, 3).T,
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "one.checkpoint"


def test_everything_comes_back_bit_for_bit(path):
    size = checkpoint.write(path, Checkpoint(ARRAYS, {"scores": [0.1, -2.5]}), "lesson")
    assert path.stat().st_size == size
    found = checkpoint.read(path, "lesson")
    assert found.about == {"scores": [0.1, -2.5]}
    assert set(found.arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert found.arrays[name].dtype == array.dtype
        assert found.arrays[name].shape == array.shape
        assert found.arrays[name].tobytes() == array.tobytes()


@pytest.mark.parametrize("place", [3, 20, 60, -1])
def test_one_changed_byte_is_noticed(path, place):
    checkpoint.write(path, Checkpoint(ARRAYS), "lesson")
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointUnusable, match="is damaged"):
        checkpoint.read(path, "lesson")


def test_half_a_file_is_noticed(path):
    checkpoint.write(path, Checkpoint(ARRAYS), "lesson")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CheckpointUnusable, match="is damaged"):
        checkpoint.read(path, "lesson")
    path.write_bytes(b"")
    with pytest.raises(CheckpointUnusable, match="is damaged"):
        checkpoint.read(path, "lesson")


def test_another_lesson_is_refused_and_a_missing_file_is_no_checkpoint(path):
    with pytest.raises(FileNotFoundError):
        checkpoint.read(path, "lesson")
    checkpoint.write(path, Checkpoint(ARRAYS), "lesson")
    with pytest.raises(CheckpointUnusable, match="another lesson"):
        checkpoint.read(path, "other")


def test_a_write_that_fails_leaves_the_old_file(path, monkeypatch):
    checkpoint.write(path, Checkpoint(ARRAYS, {"number": 1}), "lesson")

    def full(*args):
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        checkpoint.write(path, Checkpoint(ARRAYS, {"number": 2}), "lesson")
    assert checkpoint.read(path, "lesson").about == {"number": 1}
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_fingerprint_depends_on_values_and_not_on_their_order():
    one = checkpoint.fingerprint({"seed": 1, "rows": [1, 2]})
    assert one == checkpoint.fingerprint({"rows": [1, 2], "seed": 1})
    assert one != checkpoint.fingerprint({"seed": 2, "rows": [1, 2]})


def test_the_code_of_a_fingerprint_reaches_from_the_lesson_to_every_learner_and_the_kernel(monkeypatch):
    reached: set[str] = set()

    def reading(path):
        reached.add(str(path.relative_to(PROJECT)))
        return b"" if path.name == changed else b"code"

    changed = ""
    monkeypatch.setattr(Path, "read_bytes", reading)
    before = checkpoint.code_fingerprint.__wrapped__(*CODE)
    for name in ("runs/learning.py", "learners/fast_ppo.py", "learners/off_policy.py", "networks/transformer.py"):
        assert f"agents/{name}" in reached
    assert {"agents/algorithms/sac.py", "core/simulation/kernel/advance.py", "core/files.py"} <= reached
    assert not any(name.startswith("agents/tests") or "views" in name for name in reached)
    assert before == checkpoint.code_fingerprint.__wrapped__(*CODE)
    changed = "fast_ppo.py"
    assert before != checkpoint.code_fingerprint.__wrapped__(*CODE)


def test_a_lesson_under_other_code_has_another_fingerprint(monkeypatch):
    settings = worlds.settings()
    data = worlds.dataset(settings)
    one = Lesson(
        dataset=data, settings=settings, parameters={}, seed=1, training=data.training, validation=data.validation
    )
    before = one.fingerprint()
    assert before == one.fingerprint()
    monkeypatch.setattr("agents.runs.lesson.code_fingerprint", lambda *places: "after an upgrade")
    assert before != one.fingerprint()
