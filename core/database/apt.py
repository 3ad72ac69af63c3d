"""Drives the host's apt with a configuration of its own: nothing of the host's package state is read or changed."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.database.errors import cannot_unpack
from core.database.sources import debian_mirrors

SUITE = "trixie"
KEYRINGS = tuple(Path("/usr/share/keyrings") / f"debian-archive-keyring.{ending}" for ending in ("pgp", "gpg"))
ARCHITECTURES = ("amd64", "arm64")
COMMAND_SECONDS = 900
# How the host reaches its mirror (proxies, certificates, clocks) is its own business and is taken over as it is.
HOST_OPTION = re.compile(
    r"^Acquire::((https?|ftp|tor|socks5h?)(::|\s)|Check-Valid-Until|Check-Date|ForceIPv|Max-FutureTime)", re.IGNORECASE
)


@dataclass(frozen=True)
class Package:
    name: str
    version: str


class PrivateApt:
    """apt with its own lists, cache and empty status file below `folder`."""

    def __init__(self, folder: Path, *, log: Callable[[str], None]) -> None:
        self.folder = folder
        self.log = log
        require_tools()
        self.architecture = host_architecture()
        self.keyring = debian_keyring()

    def update(self) -> None:
        """Fetch the package lists of the first of the host's Debian mirrors that has the suite.

        Raises: DatabaseUnavailable when the host names no Debian mirror, or none answers with signed lists.
        """
        mirrors = debian_mirrors()
        if not mirrors:
            raise cannot_unpack("this host's apt sources name no Debian archive")
        failure = ""
        for mirror in mirrors:
            self._write_configuration(mirror)
            result = self._run("apt-get", "update", "--error-on=any")
            if result.returncode == 0:
                return
            failure = error_lines(result.stdout)
        raise cannot_unpack(f"apt cannot read Debian's {SUITE} lists from this host's mirror ({failure})")

    def resolve(self, names: list[str]) -> list[Package]:
        """All packages apt would install for `names` on an empty machine, themselves included."""
        result = self._run("apt-get", "--simulate", "--no-install-recommends", "install", *names)
        packages = [Package(*found) for found in re.findall(r"^Inst (\S+) \((\S+) ", result.stdout, re.MULTILINE)]
        if result.returncode or not packages:
            raise cannot_unpack(f"apt cannot resolve {', '.join(names)} ({error_lines(result.stdout)})")
        return packages

    def download(self, packages: list[Package], folder: Path) -> list[Path]:
        """Fetch the packages' files into `folder`; apt checks each against the signed lists."""
        folder.mkdir(parents=True, exist_ok=True)
        wanted = [f"{package.name}={package.version}" for package in packages]
        result = self._run("apt-get", "download", *wanted, cwd=folder)
        files = sorted(folder.glob("*.deb"))
        if result.returncode or len(files) < len(packages):
            raise cannot_unpack(f"apt could not download the packages ({error_lines(result.stdout)})")
        return files

    def _run(self, *command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "APT_CONFIG": str(self.folder / "apt.conf"), "LC_ALL": "C"}
        try:
            return subprocess.run(
                command,
                check=False,
                cwd=cwd or self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=COMMAND_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise cannot_unpack(f"apt did not finish within {COMMAND_SECONDS} s") from error

    def _write_configuration(self, mirror: str) -> None:
        for name in ("state/lists/partial", "cache/archives/partial", "etc/preferences.d"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "state/status").write_text("")
        signed_by = str(self.keyring)
        (self.folder / "etc/sources.list").write_text(f"deb [signed-by={signed_by}] {mirror} {SUITE} main\n")
        (self.folder / "apt.conf").write_text(configuration(self.folder, self.architecture, host_options()))


def configuration(folder: Path, architecture: str, inherited: list[str]) -> str:
    """The text of apt.conf; `inherited` are the host's own `Acquire::…` lines."""
    # The host's apt.conf.d is shut out: its hooks belong to package installation.
    lines = [
        f'Dir::Etc "{folder}/etc";',
        f'Dir::Etc::main "{folder}/etc/none.conf";',
        f'Dir::Etc::parts "{folder}/etc/none.d";',
        f'Dir::Etc::sourcelist "{folder}/etc/sources.list";',
        f'Dir::Etc::sourceparts "{folder}/etc/none.d";',
        f'Dir::State "{folder}/state";',
        f'Dir::State::status "{folder}/state/status";',
        f'Dir::Cache "{folder}/cache";',
        f'Dir::Log "{folder}";',
        f'APT::Architecture "{architecture}";',
        f'APT::Architectures {{ "{architecture}"; }};',
        'Acquire::Languages "none";',
        'Acquire::Retries "2";',
        # apt's own download user may not enter this folder.
        'APT::Sandbox::User "root";',
    ]
    for option, path in (("netrc", "/etc/apt/auth.conf"), ("netrcparts", "/etc/apt/auth.conf.d")):
        if os.access(path, os.R_OK):
            lines.append(f'Dir::Etc::{option} "{path}";')
    return "\n".join([*lines, *inherited, ""])


def host_options() -> list[str]:
    """The host's `Acquire::…` settings that say how to reach a mirror, as configuration lines."""
    dump = subprocess.run(["apt-config", "dump"], check=False, capture_output=True, text=True, errors="replace").stdout
    return [line for line in dump.splitlines() if HOST_OPTION.match(line) and not line.endswith('"";')]


def require_tools() -> None:
    missing = [tool for tool in ("apt-get", "apt-config", "dpkg") if shutil.which(tool) is None]
    if missing:
        raise cannot_unpack(f"it needs a Debian host, and {', '.join(missing)} is missing")


def host_architecture() -> str:
    result = subprocess.run(["dpkg", "--print-architecture"], check=False, capture_output=True, text=True)
    architecture = result.stdout.strip()
    if architecture not in ARCHITECTURES:
        raise cannot_unpack(f"the architecture is {architecture or 'unknown'}, expected {' or '.join(ARCHITECTURES)}")
    return architecture


def debian_keyring() -> Path:
    for path in KEYRINGS:
        if path.exists():
            return path
    raise cannot_unpack(
        f"{KEYRINGS[-1]} is missing, so nothing can be verified (apt-get install debian-archive-keyring)"
    )


def error_lines(output: str) -> str:
    """apt's own complaints, shortened to one line; the last line of output when it made none."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    complaints = [line[2:].strip() for line in lines if line.startswith("E:")] or lines[-1:]
    return "; ".join(complaints)[:400] or "no output"
