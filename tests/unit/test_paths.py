"""What may be a path inside a version, and how paths are spelled in messages."""

from __future__ import annotations

import pytest

from dataver.errors import BadInputError
from dataver.paths import PATH_BYTES_MAX, RelativePath, check_paths, host_problem, safe_spelling


@pytest.mark.parametrize(
    "path",
    [
        b"a",
        b"a/b/c.csv",
        "é/日本".encode(),
        b"line\nbreak/\r\t",
        b" ",
        b"...",
        b"..a/a..",
        b".a",
        b"-rf",
        b"back\\slash",
        b"C:",
        b"\x01\x7f",
        b".dataver",  # a file of this name harms nobody, a folder would
        b"a/.dataver",
        b".dataverignore",
        b".dataver2/x",
        b"x.dataver/y",
        b"x" * PATH_BYTES_MAX,
        b"n" * 300,
    ],
)
def test_names_that_a_file_system_holds_are_paths(path: bytes) -> None:
    assert RelativePath.parse(path) == path
    assert RelativePath.parse(path.decode()) == path
    assert str(RelativePath.parse(path)) == path.decode()
    check_paths([b"before", path, b"z"])


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (b"", "empty"),
        (b"/", "absolute"),
        (b"/etc/passwd", "absolute"),
        (b"a/", "empty part"),
        (b"a//b", "empty part"),
        (b".", "part '.'"),
        (b"..", "part '..'"),
        (b"../a", "part '..'"),
        (b"a/../b", "part '..'"),
        (b"a/./b", "part '.'"),
        (b"a/..", "part '..'"),
        (b"a\0b", "NUL"),
        (b"\0", "NUL"),
        (b".dataver/log/x", "repository"),
        (b"a/.dataver/x", "repository"),
        (b"caf\xe9", "not UTF-8"),
        (b"\xed\xa0\x80", "not UTF-8"),  # a surrogate
        (b"\xc0\xaf", "not UTF-8"),  # a slash in too many bytes
        (b"x" * (PATH_BYTES_MAX + 1), "65535"),
    ],
)
def test_what_leaves_the_version_or_is_no_text_is_refused(path: bytes, reason: str) -> None:
    with pytest.raises(BadInputError, match=reason) as caught:
        RelativePath.parse(path)
    assert len(str(caught.value)) < 1000
    with pytest.raises(BadInputError, match=reason):
        check_paths([b"a", path, b"b"])
    with pytest.raises(BadInputError, match=reason):
        check_paths([path])


def test_no_paths_are_fine() -> None:
    check_paths([])


def test_a_path_as_bytes_of_the_operating_system_is_refused_with_its_bytes_spelled_out() -> None:
    with pytest.raises(BadInputError, match=r"'caf\\xe9'"):
        RelativePath.parse("caf\udce9")


@pytest.mark.parametrize(
    ("path", "spelled"),
    [
        (b"plain/name.txt", "plain/name.txt"),
        ("é日".encode(), "é日"),
        (b"a\nb", r"a\nb"),
        (b"a\rb\tc", r"a\rb\tc"),
        (b"\x1b[31mred", r"\x1b[31mred"),
        (b"caf\xe9", r"caf\xe9"),
        ("caf\udce9", r"caf\xe9"),
        (b"a\\n", r"a\\n"),
        ("\u202egnp.exe".encode(), r"\u202egnp.exe"),
        ("\u2028".encode(), r"\u2028"),
        ("\U000e0001".encode(), r"\U000e0001"),
        ("\ud800", r"\ud800"),
        (b"", ""),
    ],
)
def test_messages_show_one_printable_line(path: bytes | str, spelled: str) -> None:
    assert safe_spelling(path) == spelled


def test_a_very_long_path_loses_its_middle() -> None:
    spelled = safe_spelling(b"start" + b"x" * 5000 + b"end")
    assert spelled.startswith("startx")
    assert spelled.endswith("xend")
    assert "…" in spelled
    assert len(spelled) < 500


@pytest.mark.parametrize("system", ["posix", "linux"])
@pytest.mark.parametrize("path", [b"NUL", b"a:b", b"back\\slash", b"dot.", b".DATAVER/x"])
def test_posix_holds_every_path(path: bytes, system: str) -> None:
    assert host_problem(path, system) is None


@pytest.mark.parametrize("path", [b".DATAVER/x", b"a/.Dataver", ".data\u200cver/x".encode()])
@pytest.mark.parametrize("system", ["darwin", "nt"])
def test_where_case_folds_nothing_may_read_as_a_repository(path: bytes, system: str) -> None:
    assert "reads as '.dataver'" in (host_problem(path, system) or "")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (b"C:/x", "character"),
        (b"a\\..\\b", "character"),
        (b"file:stream", "character"),
        (b"a\nb", "character"),
        (b"dir./x", "dot or a space"),
        (b"name ", "dot or a space"),
        (b"NUL", "device"),
        (b"dir/con.txt", "device"),
        (b"COM1", "device"),
        ("lpt\u00b2.log".encode(), "device"),
        (b"aux .x", "device"),
        (b".dataver .", "dot or a space|dataver"),
    ],
)
def test_windows_refuses_drives_devices_and_names_it_trims(path: bytes, reason: str) -> None:
    import re

    assert re.search(reason, host_problem(path, "nt") or "")


@pytest.mark.parametrize("path", [b"console", b"com", b"com10", b"nul_x", b"a.con", b"\xc3\xa9", b".dataver"])
def test_windows_holds_ordinary_names(path: bytes) -> None:
    assert host_problem(path, "nt") is None
