"""The globs of --include and --exclude."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataver.errors import BadInputError
from dataver.globs import path_filter, translate


@pytest.mark.parametrize(
    ("pattern", "takes", "leaves"),
    [
        ("*.csv", ["a.csv", "d/a.csv", "x/y/.csv", "dir.csv/inside"], ["a.csv.gz", "acsv", "a.CSV"]),
        ("train", ["train", "train/a", "x/train/a/b"], ["trains", "a/trainx", "atrain"]),
        ("train/*.csv", ["train/a.csv", "train/d.csv/x"], ["train/x/a.csv", "x/train/a.csv"]),
        ("/train", ["train", "train/a"], ["x/train"]),
        ("./train", ["train", "x/train"], ["retrain"]),
        ("train/", ["train/a", "x/train/a", "train/"], ["train"]),
        ("a/b/", ["a/b/c", "a/b/"], ["a/b", "x/a/b/c"]),
        ("**", ["a", "a/b"], []),
        ("train/**", ["train/a", "train/x/y"], ["train", "x/train/a"]),
        ("**/x", ["x", "a/x", "a/b/x", "a/x/below"], ["ax"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["ab", "a/xb", "x/a/b"]),
        ("a/**/*.py", ["a/x.py", "a/b/c/x.py"], ["x.py", "b/a/x.py"]),
        ("a?c", ["abc", "aéc"], ["ac", "a/c", "abbc"]),
        ("[ab].txt", ["a.txt", "d/b.txt"], ["c.txt", "ab.txt"]),
        ("[!a]", ["b", "é"], ["a"]),
        ("[^a]x", ["bx"], ["ax", "/x"]),
        ("[a-c]", ["a", "c"], ["d", "-"]),
        ("[é-ü]", ["ö"], ["o"]),
        ("[]]", ["]"], ["["]),
        ("[[:digit:]]*", ["1", "9x"], ["x9"]),
        (r"\*", ["*"], ["a", "**"]),
        (r"a\[b", ["a[b"], ["ab"]),
        ("a.b+(c)|^$", ["a.b+(c)|^$"], ["aXb+(c)"]),
        ("with\nline", ["with\nline"], ["with"]),
        ("*", ["a", "a\nb", "x/y"], []),
    ],
)
def test_what_a_pattern_matches(pattern: str, takes: list[str], leaves: list[str]) -> None:
    include, exclude = path_filter([pattern]), path_filter((), [pattern])
    for path in takes:
        assert include(path.encode()), path
        assert not exclude(path.encode()), path
    for path in leaves:
        assert not include(path.encode()), path
        assert exclude(path.encode()), path


def test_no_patterns_take_everything() -> None:
    assert path_filter()(b"anything")
    assert not path_filter().excludes_all_below(b"anything")


def test_any_include_is_enough_and_any_exclude_is_too_many() -> None:
    chosen = path_filter(["*.csv", "docs"], ["*draft*", "tmp/"])
    assert chosen(b"a.csv")
    assert chosen(b"docs/x.md")
    assert not chosen(b"a.md")
    assert not chosen(b"draft.csv")
    assert not chosen(b"docs/tmp/x")


def test_only_an_excluded_folder_need_not_be_entered() -> None:
    chosen = path_filter(["a/b/*.csv"], ["tmp/", "/x"])
    assert chosen.excludes_all_below(b"tmp")
    assert chosen.excludes_all_below(b"d/tmp")
    assert chosen.excludes_all_below(b"x")
    assert not chosen.excludes_all_below(b"d/x")
    assert not chosen.excludes_all_below(b"a")  # what is taken may lie deeper


def test_names_that_are_not_utf8_can_be_matched() -> None:
    assert path_filter(["caf?"])(b"caf\xe9")


@pytest.mark.parametrize(
    "pattern", ["", "/", "./", "a//b", "../x", "a/../b", "a/./b", ".", "//a", "[a", "[[:no:]]", "a\\"]
)
@pytest.mark.parametrize("option", ["--include", "--exclude"])
def test_a_pattern_that_can_match_nothing_is_refused(pattern: str, option: str) -> None:
    with pytest.raises(BadInputError, match=option):
        path_filter(*([[pattern]] if option == "--include" else [[], [pattern]]))


def test_no_pattern_takes_for_ever() -> None:
    """What people call catastrophic backtracking: each of these took longer than the age of the universe."""
    long = b"a" * 300
    for pattern in (
        "*a" * 40 + "b",
        "a/" * 3 + "**/a/" * 20 + "b",
        "**/*a*a*a*a/" * 12 + "b",
        "[a-z]*" * 40 + "/",
    ):
        chosen = path_filter([pattern])
        assert not chosen(long)
        assert not chosen(b"a/" * 150 + b"c")
        assert not chosen(b"aaaaaaaa/" * 30 + b"c")


def plainly(pattern: str) -> str:
    """The same language, spelled without regard to how long matching takes."""
    return (
        re.sub(r"\(\?>", "(?:", pattern)
        .replace("(?:[^/]*/)*?", "(?:.*/)?")
        .replace("(?:[^/]*/)*", "(?:.*/)?")
        .replace("[^/]*?", "[^/]*")
        .replace(".*?", ".*")
    )


PIECES = st.sampled_from(["*", "**", "**/", "/", "a", "b", "?", "[ab]", "\\/", "\\a", "***"])


@settings(max_examples=500)
@given(
    st.lists(PIECES, max_size=7).map("".join),
    st.lists(st.text("ab/", max_size=9), min_size=1, max_size=20),
)
def test_what_is_never_tried_again_could_not_have_matched(pattern: str, paths: list[str]) -> None:
    quick = translate(pattern)
    if quick is None:
        return
    slow = re.compile(plainly(quick), re.DOTALL)
    for path in paths:
        assert (re.fullmatch(quick, path, re.DOTALL) is None) == (slow.fullmatch(path) is None), (quick, path)
