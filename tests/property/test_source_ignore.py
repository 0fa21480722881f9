"""Ignore files mean what they mean to git: both list the same files of random trees."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataver.source import EMPTY_FOLDER, LocalSource

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

NAMES = ["a", "b", "c", "ab", "a.b", "x y", " a", "a ", "[a]", "!a", "#a", "é", "a\n", "\\a", "-", "A", "["]
PARTS = [
    *("a", "b", "c", "ab", "x y", "é", " a", "a ", "A", ".", "#a", "!a"),
    *("*", "**", "***", "?", "a?", "?b", "a*", "*b", "a**", "**b"),
    *("[ab]", "[!a]", "[^b]", "[a-c]", "[c-a]", "[]a]", "[!]a]", "[a-]", "[\\]a]", "[é]", "[a/b]"),
    *("[[:alpha:]]", "[[:nope:]]", "[[:a]", "[a", "["),
    *("\\a", "\\!a", "\\#a", "\\[", "\\*", "a\\ ", "\\"),
]


@st.composite
def patterns(draw: st.DrawFn) -> str:
    body = "/".join(draw(st.lists(st.sampled_from(PARTS), min_size=1, max_size=3)))
    start = draw(st.sampled_from(["", "", "", "/", "!", "!/"]))
    end = draw(st.sampled_from(["", "", "", "/", " ", "\r", "\t", "/ "]))
    return start + body + end


RULES = st.lists(patterns(), min_size=1, max_size=4).map("\n".join)
Tree = dict[str, "Tree | None"]
TREES: st.SearchStrategy[Tree] = st.recursive(
    st.dictionaries(st.sampled_from(NAMES), st.none(), min_size=1, max_size=4),
    lambda below: st.dictionaries(st.sampled_from(NAMES), st.none() | below, min_size=1, max_size=4),
    max_leaves=12,
)


def make(folder: Path, tree: Tree, rules: list[str]) -> None:
    if rules:
        (folder / ".dataverignore").write_text(rules.pop(), newline="")
    for name, below in tree.items():
        if below is None:
            (folder / name).touch()
        else:
            (folder / name).mkdir()
            make(folder / name, below, rules)


@given(TREES, st.lists(RULES, min_size=1, max_size=4))
def test_git_lists_the_same_files(tree: Tree, rules: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(["git", "init", "-q", folder / "git"], check=True)
        top = folder / "top"
        top.mkdir()
        make(top, tree, list(rules))
        listing = subprocess.run(
            [
                *(
                    "git",
                    f"--git-dir={folder / 'git/.git'}",
                    f"--work-tree={top}",
                    "-c",
                    "core.ignoreCase=false",
                ),
                *("ls-files", "--others", "-z", "--exclude-per-directory=.dataverignore"),
            ],
            cwd=top,
            check=True,
            capture_output=True,
        ).stdout
        gits = {path for path in listing.split(b"\0") if path and not path.endswith(b".dataverignore")}
        found = LocalSource(top).files()
        ours = {file.path for file in found if file.kind != EMPTY_FOLDER}
        assert {path for path in ours if not path.endswith(b".dataverignore")} == gits
