"""The cache of compiled functions follows what a file imports."""

import subprocess
import sys
from pathlib import Path

import numba

from core.simulation import compiled as module
from core.simulation.compiled import compiled, project_files

PROJECT = Path(__file__).resolve().parents[2]


@compiled
def twice(value: float) -> float:
    return 2.0 * value


@compiled(nogil=True, error_model="numpy")
def ratio(a: float, b: float) -> float:
    return a / b


def test_both_ways_to_decorate_compile_and_cache():
    before = numba.config.CACHE_DIR
    assert (twice(1.5), ratio(1.0, 0.0)) == (3.0, float("inf"))
    assert "core.tests.test_compiled" in str(twice._cache._cache_path)
    assert before == numba.config.CACHE_DIR


def test_a_files_folder_follows_everything_it_imports():
    files = project_files(PROJECT / "core/simulation/kernel/advance.py")
    names = {str(path.relative_to(PROJECT)) for path in files}
    assert {
        "core/simulation/compiled.py",
        "core/simulation/kernel/layout.py",
        "core/simulation/kernel/advance.py",
        "core/simulation/kernel/prices.py",  # imported by what it imports
    } <= names
    assert not any("tests" in name for name in names)


PACKAGE = {
    "constants.py": "FACTOR = 2.0\n",
    "inner.py": "from {name}.constants import FACTOR\nfrom core.simulation.compiled import compiled\n"
    "@compiled\ndef scaled(x):\n    return x * FACTOR\n",
    "outer.py": "from {name} import inner\nfrom core.simulation.compiled import compiled\n"
    "scaled = inner.scaled\n@compiled\ndef twice_scaled(x):\n    return 2.0 * scaled(x)\n",
}


def test_a_changed_constant_two_files_away_is_noticed(tmp_path):
    # The same sources compiled, then a constant changed that numba's own cache would not notice.
    package = tmp_path / "sample"
    package.mkdir()
    for name, text in PACKAGE.items():
        (package / name).write_text(text.replace("{name}", "sample"))
    code = (
        "import sys; from pathlib import Path; import core.simulation.compiled as c\n"
        f"sys.path.insert(0, {str(tmp_path)!r}); c.PROJECT = Path({str(tmp_path)!r})\n"
        "from sample.outer import twice_scaled\nprint(twice_scaled(3.0), twice_scaled.stats.cache_hits)"
    )

    def run() -> list[str]:
        done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
        return done.stdout.split()

    assert run() == ["12.0", "Counter()"]
    assert run()[0] == "12.0" and "Counter({" in " ".join(run())
    (package / "constants.py").write_text("FACTOR = 5.0\n")
    assert run() == ["30.0", "Counter()"]
    for factor in (6.0, 7.0, 8.0):
        (package / "constants.py").write_text(f"FACTOR = {factor}\n")
        run()
    kept = list((tmp_path / ".local" / "numba" / "sample.outer").iterdir())
    assert len(kept) <= module.N_KEPT_FOLDERS


def test_a_folder_that_cannot_be_written_is_replaced_by_the_users_own(tmp_path, monkeypatch):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    monkeypatch.setattr(module._settings, "CACHE_DIR", str(in_the_way / "below"))
    monkeypatch.setattr(module.tempfile, "gettempdir", lambda: str(tmp_path))
    found = module._root.__wrapped__()
    assert found.parent == tmp_path and found.stat().st_mode & 0o777 == 0o700
