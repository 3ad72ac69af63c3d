"""Which mirror is read out of which apt sources."""

from pathlib import Path

from core.database.sources import debian_mirrors, parse_deb822, parse_one_line

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def _etc(tmp_path: Path, **files: str) -> Path:
    (tmp_path / "sources.list.d").mkdir()
    for name, text in files.items():
        folder = tmp_path if name == "sources_list" else tmp_path / "sources.list.d"
        (folder / name.replace("_", ".")).write_text(text)
    return tmp_path


def test_a_one_line_entry_gives_address_suite_components_and_options():
    text = f"deb [arch=amd64 signed-by={KEYRING}] http://mirror.example/debian bookworm main contrib # ours\n"
    (entry,) = parse_one_line(text)
    assert (entry.uri, entry.suites, entry.components) == (
        "http://mirror.example/debian",
        ("bookworm",),
        ("main", "contrib"),
    )
    assert entry.signed_by == KEYRING and entry.options["arch"] == "amd64"


def test_comments_sources_and_empty_lines_are_no_entries():
    text = "# deb http://a.example/debian bookworm main\n\ndeb-src http://b.example/debian bookworm main\n"
    assert list(parse_one_line(text)) == []


def test_a_deb822_stanza_gives_one_entry_per_address():
    text = (
        "Types: deb deb-src\n# a remark inside\nURIs: http://a.example/debian\n http://b.example/debian\n"
        f"Suites: trixie trixie-updates\nComponents: main\nSigned-By: {KEYRING}\n"
    )
    entries = list(parse_deb822(text))
    assert [entry.uri for entry in entries] == ["http://a.example/debian", "http://b.example/debian"]
    assert entries[0].suites == ("trixie", "trixie-updates") and entries[0].signed_by == KEYRING


def test_disabled_and_source_only_stanzas_are_passed_over():
    stanza = "URIs: http://a.example/debian\nSuites: trixie\nComponents: main\n"
    assert list(parse_deb822(f"Types: deb\nEnabled: no\n{stanza}\nTypes: deb-src\n{stanza}")) == []


def test_security_third_parties_and_discs_are_not_the_mirror(tmp_path):
    etc = _etc(
        tmp_path,
        sources_list=(
            "deb cdrom:[Debian GNU/Linux 12]/ bookworm main\n"
            "deb http://mirror.example/debian-security bookworm-security main\n"
            "deb http://mirror.example/debian bookworm-backports main\n"
            "deb http://pg.example/apt bookworm-pgdg main\n"
            "deb [signed-by=/etc/apt/keyrings/vendor.gpg] http://vendor.example/debian bookworm main\n"
            "deb http://docker.example/linux/debian bookworm stable\n"
        ),
        node_sources=(
            "Types: deb\nURIs: http://inline.example/debian\nSuites: bookworm\nComponents: main\n"
            "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBF\n -----END PGP PUBLIC KEY BLOCK-----\n"
        ),
        debian_sources="Types: deb\nURIs: http://mirror.example/debian/\nSuites: bookworm\nComponents: main\n",
    )
    assert debian_mirrors(etc) == ["http://mirror.example/debian/"]


def test_a_mirror_file_is_handed_to_apt_as_it_is(tmp_path):
    etc = _etc(
        tmp_path,
        debian_sources=(
            "Types: deb deb-src\nURIs: mirror+file:///etc/apt/mirrors/debian.list\n"
            "Suites: trixie trixie-updates trixie-backports\nComponents: main\n"
        ),
    )
    assert debian_mirrors(etc) == ["mirror+file:///etc/apt/mirrors/debian.list"]


def test_an_entry_with_debians_key_comes_before_a_guess(tmp_path):
    etc = _etc(
        tmp_path,
        sources_list="deb http://unknown.example/packages bookworm main\n",
        z_list="deb [signed-by=/usr/share/keyrings/debian-archive-keyring.pgp] http://sure.example/d trixie main\n",
    )
    assert debian_mirrors(etc) == ["http://sure.example/d", "http://unknown.example/packages"]


def test_a_host_without_debian_sources_has_no_mirror(tmp_path):
    etc = _etc(tmp_path, ubuntu_list="deb http://other.example/ubuntu noble main universe\n")
    assert debian_mirrors(etc) == []
