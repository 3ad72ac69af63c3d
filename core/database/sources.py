"""Reads the host's own apt sources to learn which Debian mirror it uses.

Formats: sources.list(5), the one-line style (`*.list`) and deb822 style (`*.sources`).
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

# Third parties also call their suites "bookworm"; their keys and suffixes (-pgdg) tell them apart.
DEBIAN_SUITES = re.compile(r"^(stable|oldstable|testing|unstable|sid|bullseye|bookworm|trixie|forky|duke)$")
DEBIAN_KEYRING_NAME = re.compile(r"(^|/)debian-archive-[\w-]*\.(gpg|pgp|asc)$")


@dataclass(frozen=True)
class SourceEntry:
    """One address with its suites, as apt sees it."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    options: dict[str, str] = field(default_factory=dict)

    @property
    def signed_by(self) -> str:
        return self.options.get("signed-by", "")


def debian_mirrors(etc: Path = Path("/etc/apt")) -> list[str]:
    """URIs of the Debian main archive named by the apt sources under `etc`, the surest first; [] if there is none."""
    entries = [entry for entry in read_entries(etc) if is_debian_main(entry)]
    # A Debian key or the usual path first; an unsigned-by entry of unknown path is only a guess.
    entries.sort(key=lambda entry: (not entry.signed_by, not entry.uri.rstrip("/").endswith("/debian")))
    return list(dict.fromkeys(entry.uri for entry in entries))


def is_debian_main(entry: SourceEntry) -> bool:
    """Whether the entry is Debian's main archive: not security, not a third party, not a disc."""
    if entry.uri.startswith("cdrom:") or "main" not in entry.components:
        return False
    if entry.signed_by and not all(DEBIAN_KEYRING_NAME.search(key) for key in entry.signed_by.split()):
        return False
    return any(DEBIAN_SUITES.match(suite) for suite in entry.suites)


def read_entries(etc: Path) -> Iterator[SourceEntry]:
    """Every enabled binary (`deb`) entry of sources.list and sources.list.d; unreadable files are passed over."""
    for path in [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]:
        if path.suffix not in (".list", ".sources"):
            continue
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        yield from parse_deb822(text) if path.suffix == ".sources" else parse_one_line(text)


def parse_one_line(text: str) -> Iterator[SourceEntry]:
    """Entries of `deb [option=value …] uri suite component …` lines; `#` starts a comment."""
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s*)?([^\s\[#]+)\s+([^\s#]+)([^#]*)", line)
        if match:
            options, uri, suite, components = match.groups()
            yield SourceEntry(uri, (suite,), tuple(components.split()), _options(options or ""))


def parse_deb822(text: str) -> Iterator[SourceEntry]:
    """Entries of stanzas parted by empty lines; a field goes on over lines that start with white space."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for stanza in re.split(r"\n[ \t]*\n", "\n".join(lines)):
        fields: dict[str, str] = {}
        for match in re.finditer(r"^([\w-]+):((?:.*)(?:\n[ \t].*)*)", stanza, re.MULTILINE):
            fields[match[1].lower()] = match[2].strip()
        if fields.get("enabled", "yes").lower() in ("no", "false", "0", "off", "without", "disable"):
            continue
        if "deb" not in fields.get("types", "").split():
            continue
        suites, components = tuple(fields.get("suites", "").split()), tuple(fields.get("components", "").split())
        for uri in fields.get("uris", "").split():
            yield SourceEntry(uri, suites, components, fields)


def _options(text: str) -> dict[str, str]:
    pairs = [word.split("=", 1) for word in shlex.split(text) if "=" in word]
    return {name.lower(): value.replace(",", " ") for name, value in pairs}
