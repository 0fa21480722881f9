"""Ignore files: git's syntax, nested, and themselves part of the version."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dataver.source import EMPTY_FOLDER, LocalSource
from dataver.source.ignore import IgnoreRules


def ignored(rules: str | bytes, path: str, folder: bytes = b"") -> bool:
    data = rules.encode() if isinstance(rules, str) else rules
    return IgnoreRules(data, folder, None).ignores(path.encode())


@pytest.mark.parametrize(
    ("rules", "path", "expected"),
    [
        ("*.tmp", "a.tmp", True),
        ("*.tmp", "d/e/a.tmp", True),
        ("*.tmp", "a.tmp\n", False),
        ("*.tmp", "a.TMP", False),
        ("/a", "a", True),
        ("/a", "d/a", False),
        ("d/a", "d/a", True),
        ("d/a", "x/d/a", False),
        ("d/", "d/", True),
        ("d/", "d", False),
        ("a/b/", "a/b/", True),
        ("**/b", "b", True),
        ("**/b", "x/y/b", True),
        ("a/**", "a/x", True),
        ("a/**", "a/", False),
        ("a/**/b", "a/b", True),
        ("a/*/b", "a/x/y/b", False),
        ("# a\na", "# a", False),
        (r"\#a", "#a", True),
        (r"\!a", "!a", True),
        ("a  ", "a", True),
        (r"a\ ", "a ", True),
        (r"a\ ", "a", False),
        ("a\r\nb\r\n", "a", True),
        ("a\r\nb\r\n", "b", True),
        ("*\n!a", "a", False),
        ("!a\n*", "a", True),
        ("*.c\n!a.c\na.*", "a.c", True),
        ("[a-c]", "b", True),
        ("[!a-c]", "b", False),
        ("[[:digit:]]", "7", True),
        ("[[:digit:]]", "x", False),
        ("[c-a]", "b", False),
        ("[", "[", False),
        ("a\\", "a", False),
        ("", "", False),
        ("\n\n", "a", False),
        ("!", "a", False),
        ("/", "a/", False),
        ("\ufeffa", "a", True),
        ("??", "é", True),  # one byte each, as in git
    ],
)
def test_one_file_of_rules(rules: str, path: str, expected: bool) -> None:
    assert ignored(rules, path) is expected


def test_rules_and_names_need_not_be_utf8() -> None:
    assert IgnoreRules(b"caf\xe9*", b"", None).ignores(b"caf\xe9.txt")


def test_rules_of_a_folder_are_relative_to_it_and_come_before_those_above() -> None:
    above = IgnoreRules(b"*.log\n/d/x\nkept\n", b"", None)
    rules = IgnoreRules(b"!keep.log\n/y\nd/z\n", b"d/", above)
    assert rules.ignores(b"d/a.log")
    assert not rules.ignores(b"d/keep.log")
    assert rules.ignores(b"d/x")
    assert rules.ignores(b"d/y")
    assert not rules.ignores(b"d/e/y")
    assert rules.ignores(b"d/d/z")
    assert not rules.ignores(b"d/z")
    assert rules.ignores(b"d/kept")


def listed(top: Path) -> list[str]:
    files = LocalSource(top).files()
    return [os.fsdecode(file.path) + ("/" if file.kind == EMPTY_FOLDER else "") for file in files]


def make(top: Path, **files: str) -> None:
    for path, content in files.items():
        place = top / path.replace("__", "/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)


class TestInASource:
    def test_it_is_obeyed_and_part_of_the_version(self, tmp_path: Path) -> None:
        make(tmp_path, a="", b="", d__a="", d__c="")
        (tmp_path / ".dataverignore").write_text("a\n")
        (tmp_path / "d/.dataverignore").write_text("c\n")
        assert listed(tmp_path) == [".dataverignore", "b", "d/.dataverignore"]

    def test_it_stays_even_where_it_ignores_itself(self, tmp_path: Path) -> None:
        make(tmp_path, a="", d__b="")
        (tmp_path / ".dataverignore").write_text("*\n")
        assert listed(tmp_path) == [".dataverignore"]

    def test_what_an_ignored_folder_holds_cannot_come_back(self, tmp_path: Path) -> None:
        make(tmp_path, d__keep="", e__keep="", e__x="")
        (tmp_path / ".dataverignore").write_text("d/\n!d/keep\ne/*\n!e/keep\n")
        assert listed(tmp_path) == [".dataverignore", "e/keep"]

    def test_a_folder_whose_content_is_all_ignored_is_empty(self, tmp_path: Path) -> None:
        make(tmp_path, d__a="", e__f__a="")
        (tmp_path / ".dataverignore").write_text("a\n")
        assert listed(tmp_path) == [".dataverignore", "d/", "e/f/"]

    def test_a_folder_of_that_name_or_a_link_is_not_read(self, tmp_path: Path) -> None:
        make(tmp_path, rules="*\n", d__x="")
        (tmp_path / ".dataverignore").symlink_to("rules")
        (tmp_path / "d/.dataverignore").mkdir()
        assert listed(tmp_path) == [".dataverignore", "d/.dataverignore/", "d/x", "rules"]

    def test_files_of_a_gitignore_are_data(self, tmp_path: Path) -> None:
        make(tmp_path, a="")
        (tmp_path / ".gitignore").write_text("a\n")
        assert listed(tmp_path) == [".gitignore", "a"]

    def test_nothing_above_the_source_counts(self, tmp_path: Path) -> None:
        make(tmp_path, d__a="")
        (tmp_path / ".dataverignore").write_text("a\n")
        assert listed(tmp_path / "d") == ["a"]

    def test_it_can_be_left_aside(self, tmp_path: Path) -> None:
        make(tmp_path, a="")
        (tmp_path / ".dataverignore").write_text("a\n")
        assert [f.path for f in LocalSource(tmp_path, ignore=False).files()] == [b".dataverignore", b"a"]
