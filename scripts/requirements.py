"""Prints what pip must install: the project's dependencies and the named groups. Usage: requirements.py [GROUP ...]."""

import sys
import tomllib
from pathlib import Path


def main() -> None:
    """One line, so that make can pass it on."""
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    groups = project["optional-dependencies"]
    wanted = [name for name in project["dependencies"] if name != "torch"]
    for group in sys.argv[1:]:
        if group not in groups:
            sys.exit(f"no group is called {group!r}; known: {', '.join(groups)}")
        wanted += groups[group]
    print(" ".join(wanted))


if __name__ == "__main__":
    main()
