"""docs/proofs.md names tests that are there, short ones on the left and slow ones on the right."""

import ast
import re
from functools import cache
from pathlib import Path

from django.conf import settings

PROJECT = Path(settings.BASE_DIR)
PAGE = PROJECT / "docs" / "proofs.md"
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")
THE_SAME = "the same"


def rows() -> list[tuple[str, str, str]]:
    """Part, short and slow of every row of every table."""
    cells = [line.strip("|").split("|") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    assert all(len(row) == 3 for row in cells), [row for row in cells if len(row) != 3]
    found = [(part.strip(), short.strip(), slow.strip()) for part, short, slow in cells]
    return [row for row in found if row[0] != "part"]


@cache
def marks_in(file: str) -> dict[str, bool]:
    """Whether each test of a file carries the mark slow, itself, by its file, or as one of its cases."""
    tree = ast.parse((PROJECT / file).read_text())
    marks = [
        node.value for node in tree.body if isinstance(node, ast.Assign) and _name(node.targets[0]) == "pytestmark"
    ]
    whole = any(_is_slow(mark) for mark in marks)
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {
        node.name: whole or any(_is_slow(decorator) for decorator in node.decorator_list)
        for node in functions if node.name.startswith("test_")
    }  # fmt: skip


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _is_slow(mark: ast.expr) -> bool:
    return any(isinstance(node, ast.Attribute) and node.attr == "slow" for node in ast.walk(mark))


def test_every_part_has_a_short_test_and_a_slow_proof():
    wrong, above = [], ""
    for part, short, slow in rows():
        if not NAMED.search(short):
            wrong.append(f"{part}: no short test")
        if slow.startswith(THE_SAME):
            slow = above + slow
        if not NAMED.search(slow):
            wrong.append(f"{part}: no slow proof")
        above = slow
    assert len(rows()) > 30 and not wrong, "\n".join(wrong)


def test_every_test_named_is_there_and_is_as_slow_as_its_column_says():
    wrong = []
    for part, short, slow in rows():
        for column, is_slow in ((short, False), (slow, True)):
            for file, test in NAMED.findall(column):
                known = marks_in(file) if (PROJECT / file).exists() else {}
                if test not in known:
                    wrong.append(f"{part}: there is no {file}::{test}")
                elif known[test] != is_slow:
                    wrong.append(f"{part}: {file}::{test} is {'not ' * is_slow}marked slow")
    assert not wrong, "\n".join(wrong)


def test_the_table_leaves_no_slow_proof_out():
    named = {name for *_, slow in rows() for name in NAMED.findall(slow)}
    files = [path for folder in ("agents/tests", "tests") for path in (PROJECT / folder).rglob("test_slow_*.py")]
    proofs = sorted(str(path.relative_to(PROJECT)) for path in files)
    left_out = [f"{file}::{test}" for file in proofs for test in marks_in(file) if (file, test) not in named]
    assert proofs and not left_out, "\n".join(left_out)
