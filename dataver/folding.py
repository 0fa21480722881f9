"""Names that some file systems take for one: nothing is written where two paths of a version would meet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Protocol

from dataver.column import Column
from dataver.errors import BadInputError, WouldOverwriteError
from dataver.joined import each_path
from dataver.paths import REPOSITORY_FOLDER, safe_spelling

__all__ = ["Folds", "check_folding", "check_standing", "folded"]

_REPOSITORY = REPOSITORY_FOLDER.decode()


class Folds(Protocol):
    """What can tell of its file system which names it takes for one."""

    def folds_case(self) -> bool:
        """Whether names that differ in case are one."""

    def folds_composed(self) -> bool:
        """Whether names that differ in how an accent is spelled are one."""


def check_folding(target: Folds, joined_paths: Column) -> None:
    """`BadInputError` for paths that the target's file system takes for one, or for a repository's folder.

    The paths are joined by NUL. Folders count too: of `A/x` and `a/y` a checkout would make one folder.
    The file system is asked only where there are such names.
    """
    if _are_apart(joined_paths):
        return
    folds_case, folds_composed = cache(target.folds_case), cache(target.folds_composed)
    known: dict[str, str] = {}
    above = ""
    for path in each_path(joined_paths):
        name = path.decode()
        _add(name, known, folds_case, folds_composed)
        folder = name.rpartition("/")[0]
        if folder != above:
            above = folder
            while folder:
                _add(folder, known, folds_case, folds_composed)
                folder = folder.rpartition("/")[0]


def check_standing(target: Folds, written: Sequence[bytes], standing: Sequence[bytes]) -> None:
    """`WouldOverwriteError` where a path to be written is, but for its case, one that is there and stays.

    How an accent is spelled does not count: a system that composes names lists them in its own way.
    """
    if not written or not standing or not target.folds_case():
        return
    names = (path.decode("utf-8", "surrogateescape") for path in standing)
    there = {folded(name): name for name in names}
    for path in written:
        name = path.decode()
        other = there.get(folded(name), name)
        if _composed(other) != _composed(name):
            raise WouldOverwriteError(
                f"{safe_spelling(name)} is one name on this file system with {safe_spelling(other)}, which "
                "is there. Nothing was written; move it away, or leave the other out with --exclude"
            )


def _are_apart(joined_paths: Column) -> bool:
    """Whether no two names could meet, told for all at once: False where that takes a closer look."""
    if all(block.isascii() and block.lower() == block for block in joined_paths.blocks()):
        return True  # nothing to fold: what differs differs everywhere
    joined = joined_paths[:]
    lowered = joined.lower()
    if not joined.isascii() or REPOSITORY_FOLDER in lowered:
        return False
    folders: set[bytes] = set()
    paths = joined.split(b"\0")
    for folder in {path.rpartition(b"/")[0] for path in paths}:
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition(b"/")[0]
    names, above = set(lowered.split(b"\0")), {folder.lower() for folder in folders}
    return len(names) == len(paths) and len(above) == len(folders) and names.isdisjoint(above)


def _add(
    name: str, known: dict[str, str], folds_case: Callable[[], bool], folds_composed: Callable[[], bool]
) -> None:
    key = folded(name)
    other = known.setdefault(key, name)
    if other != name and (folds_composed() if _composed(other) == _composed(name) else folds_case()):
        raise BadInputError(
            f"{safe_spelling(other)} and {safe_spelling(name)} are one name on this file system; "
            "leave one out with --exclude"
        )
    if key != name and _last(key) == _REPOSITORY != _last(name) and folds_case():
        raise BadInputError(
            f"{safe_spelling(name)} cannot be written here: it reads as {_REPOSITORY!r} on this file system; "
            "leave it out with --exclude"
        )


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def folded(name: str) -> str:
    """What is the same of names that differ in case, or in how an accent is spelled."""
    return name.lower() if name.isascii() else _composed(_composed(name).casefold())


def _composed(name: str) -> str:
    if name.isascii():
        return name
    from unicodedata import normalize

    return normalize("NFC", name)
