"""Paths that a file system takes for one: refused there, and only there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataver import folding
from dataver.column import Column
from dataver.errors import BadInputError
from dataver.folding import check_folding
from dataver.targets import Target

COMPOSED, APART = "caf\u00e9", "cafe\u0301"


class Folding(Target):
    """A folder of a file system that folds what it is told to, beside this one, which may fold nothing."""

    case = composed = True

    def folds_case(self) -> bool:
        return self.case

    def folds_composed(self) -> bool:
        return self.composed


@pytest.mark.parametrize(
    ("paths", "case", "composed"),
    [
        (["a.csv", "A.csv"], True, False),
        (["train/x", "Train/y"], True, False),
        (["a/b/c/x", "a/B/c/y"], True, False),
        (["stra\u00dfe", "STRASSE"], True, False),
        ([COMPOSED, APART], False, True),
        ([f"{COMPOSED}/x", f"{APART}/y"], False, True),
        ([f"{COMPOSED}/x", f"{APART.upper()}/y"], True, False),
        (["data/.DATAVER"], True, False),
        ([".DataVer/log/0"], True, False),
    ],
)
def test_what_meets_there_is_refused_there(
    tmp_path: Path, paths: list[str], case: bool, composed: bool
) -> None:
    encoded = sorted(path.encode() for path in paths)
    with Folding(os.fsencode(tmp_path)) as target:
        target.case, target.composed = case, composed
        with pytest.raises(BadInputError, match="on this file system; leave"):
            check_folding(target, Column(b"\0".join(encoded)))
        target.case = target.composed = False
        check_folding(target, Column(b"\0".join(encoded)))


@pytest.mark.parametrize("paths", [["a", "b"], ["x.DATAVER", "a/B"], ["A/x", "A/y"], [".dataver"]])
def test_what_is_apart_everywhere_is_written_anywhere(tmp_path: Path, paths: list[str]) -> None:
    with Folding(os.fsencode(tmp_path)) as target:
        check_folding(target, Column(b"\0".join(sorted(path.encode() for path in paths))))


segments = st.sampled_from(["a", "A", "b", "aB", "Ab", "ab", ".dataver", ".DataVer", COMPOSED, APART])


@given(
    st.sets(st.lists(segments, min_size=1, max_size=3).map("/".join), max_size=6),
    st.booleans(),
    st.booleans(),
)
def test_a_look_at_all_names_at_once_passes_nothing(paths: set[str], case: bool, composed: bool) -> None:
    """What it lets pass is what a look at each of them lets pass."""
    encoded = sorted(path.encode() for path in paths)
    target = Folding.__new__(Folding)
    target.case, target.composed = case, composed
    outcomes = []
    for at_once in (folding._are_apart, lambda _: False):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(folding, "_are_apart", at_once)
            try:
                check_folding(target, Column(b"\0".join(encoded)))
            except BadInputError as error:
                outcomes.append(str(error))
            else:
                outcomes.append("")
    assert outcomes[0] == outcomes[1]


def test_a_file_system_is_asked_by_a_file_that_goes_again(tmp_path: Path) -> None:
    with Target(os.fsencode(tmp_path)) as target:
        asked = target.folds_case(), target.folds_composed()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / COMPOSED).touch()
    (tmp_path / "lower").touch()
    assert asked == ((tmp_path / "LOWER").exists(), (tmp_path / APART).exists())
