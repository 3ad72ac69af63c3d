"""Runs the tests on a database server of their own, so that a running desk's data and port are never touched.

Usage: run.py [pytest arguments]. With DATABASE_URL set that server is used instead. Without arguments everything but
the slow proofs runs: first what may run side by side, then, one by one, what drives a browser or a whole desk.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from core import database  # noqa: E402

ROUNDS = [
    ["-n", "2", "--dist", "loadfile", "-m", "not slow and not browser and not desk"],
    ["-m", "not slow and (browser or desk)"],
]


def main() -> int:
    """Prepare, run pytest, put everything away. Returns: pytest's exit code."""
    install_chromium()
    try:
        if not os.environ.get("DATABASE_URL"):
            # The unpacked programs are shared with the desk; data, port and password are not.
            os.environ["DESK_DATABASE_BINARIES"] = str(database.ensure_installed())
            os.environ["DESK_LOCAL_DIR"] = str(PROJECT / ".local" / "test")
            os.environ["DESK_DATABASE_FSYNC"] = "off"
        database.ensure_running()
    except database.DatabaseUnavailable as error:
        print(error, file=sys.stderr)
        return 2
    try:
        rounds = [sys.argv[1:]] if sys.argv[1:] else ROUNDS
        return max(subprocess.call([sys.executable, "-m", "pytest", *arguments], cwd=PROJECT) for arguments in rounds)
    finally:
        database.stop()


def install_chromium() -> None:
    """Debian's Chromium for the browser tests, where we may install it; without it those tests skip and say so."""
    if shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome"):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        print("Chromium is not installed: the browser tests will be skipped (apt-get install chromium brings it).")
        return
    print("Installing Chromium for the browser tests ...")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "chromium"]):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"Chromium could not be installed, the browser tests will be skipped: {done.stderr.strip()[-200:]}")
            return


if __name__ == "__main__":
    sys.exit(main())
