"""Compiled functions whose cache on disk is never stale.

numba's own cache notices a change of the file a function is in, not of the files it calls into or takes constants from.
Here every source file has a cache folder of its own, named by a hash of its text and of the text of every project file
it imports, directly or not: whatever changes, a new folder is used and the code is compiled again.
"""

import fcntl
import getpass
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, overload

import numba

Function = TypeVar("Function", bound=Callable[..., Any])

_settings: Any = numba.config  # it grows its attributes when imported

PROJECT = Path(__file__).resolve().parents[2]
N_KEPT_FOLDERS = 3  # of one source file: the newest, so that two branches do not compile by turns

_IMPORTS = re.compile(r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import[ \t]+(\([^)]*\)|[^\n]+)|import[ \t]+([^\n]+))", re.M)


@overload
def compiled(function: Function) -> Function: ...
@overload
def compiled(**options: Any) -> Callable[[Function], Function]: ...
def compiled(function: Function | None = None, **options: Any) -> Any:
    """numba's njit with a cache on disk that follows every project file the function's module imports.

    options: as njit takes them (parallel, nogil, inline, error_model, ...); fastmath stays off unless asked for.
    """
    if function is None:
        return lambda later: compiled(later, **options)
    source = Path(function.__code__.co_filename)
    options = {"cache": source.is_file(), "fastmath": False} | options
    if not options["cache"] or not source.is_relative_to(PROJECT):
        return numba.njit(**options)(function)
    with _cache_folder(source):
        dispatcher = numba.njit(**options)(function)
    _lock_saving(dispatcher)
    return dispatcher


def inlined(function: Function) -> Function:
    """A small compiled function that disappears into its callers, for loops where nanoseconds count.

    It counts no references to arrays, which made the kernel four times slower: it may index them, but neither make nor
    slice any. A division by 0 gives inf or NaN, as in numpy.
    """
    return compiled(forceinline=True, error_model="numpy", _nrt=False)(function)


@contextmanager
def _cache_folder(source: Path) -> Iterator[None]:
    # numba reads the setting while it decorates; everybody else's functions keep the folder they have.
    before = _settings.CACHE_DIR
    _settings.CACHE_DIR = str(cache_folder(source))
    try:
        yield
    finally:
        _settings.CACHE_DIR = before


@cache
def cache_folder(source: Path) -> Path:
    """The folder for what is compiled from a project file as it and what it imports are written now."""
    digest = hashlib.blake2b(digest_size=12)
    for path in sorted(project_files(source)):
        digest.update(f"{path.relative_to(PROJECT)}\0".encode() + _text(path).encode() + b"\0")
    module = ".".join(source.relative_to(PROJECT).with_suffix("").parts)
    folder = _root() / module / digest.hexdigest()
    if folder.is_dir():
        with suppress(OSError):
            os.utime(folder)  # the newest are those last used
    else:
        folder.mkdir(parents=True, exist_ok=True)
        _drop_oldest(folder.parent)
    return folder


@cache
def _root() -> Path:
    """Where cache folders lie: in the project, or for the user where the project cannot be written."""
    ours = Path(_settings.CACHE_DIR) if _settings.CACHE_DIR else PROJECT / ".local" / "numba"
    try:
        ours.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=ours):
            return ours
    except OSError:
        return _own_temporary_folder()


def _own_temporary_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"desk-numba-{getpass.getuser()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    # What is read from there is run: a folder somebody else put there is none of ours.
    return folder if folder.stat().st_uid == os.getuid() else Path(tempfile.mkdtemp(prefix="desk-numba-"))


def _drop_oldest(folder: Path) -> None:
    with suppress(OSError):  # another process may drop the same ones
        ages = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in ages[N_KEPT_FOLDERS:]:
            shutil.rmtree(old, ignore_errors=True)


def project_files(source: Path) -> set[Path]:
    """A project file and every project file it imports, directly or not."""
    found, waiting = set(), [source]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting.extend(_imported(path))
    return found


@cache
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def _imported(path: Path) -> tuple[Path, ...]:
    names: list[str] = []
    for module, members, plain in _IMPORTS.findall(_text(path)):
        if module:
            names += [module, *(f"{module}.{name}" for name in re.findall(r"\w+", members))]
        else:
            names += re.findall(r"[\w.]+", plain)
    return tuple(file for name in dict.fromkeys(names) if (file := _module_file(name)) is not None)


@cache
def _module_file(name: str) -> Path | None:
    place = PROJECT.joinpath(*name.split("."))
    for file in (place.with_suffix(".py"), place / "__init__.py"):
        if file.is_file():
            return file
    return None


def _lock_saving(dispatcher: Any) -> None:
    """Let one process at a time save: two that compile different types at once would take the same file name."""
    saved = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
    if saved is None:  # numba is switched off
        return
    plain_save = saved.save

    def save(key: Any, data: Any) -> None:
        folder = Path(saved._cache_path)
        with suppress(OSError):  # a full disk costs compiling again, not the run
            folder.mkdir(parents=True, exist_ok=True)  # a newer version may have dropped it
            with (folder / "lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                plain_save(key, data)

    saved.save = save
