"""What a commit may not take: files and chunks that were erased from the repository."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from dataver.column import Column
from dataver.digest import DIGEST_BYTES
from dataver.erased import Erasures, erasures
from dataver.format import chunk_list
from dataver.log.state import State
from dataver.packs import StoredPack
from dataver.paths import safe_spelling
from dataver.tree.manifest import FOLDER, Entry

__all__ = ["Refusals", "refuse_chunks", "refuse_files"]

ADVICE = "Delete it, or name it in .dataverignore"


class Refusals:
    """The erasures that one commit heeds. Its `ErasedDataError`s name the file.

    Nothing is looked at where nothing was ever erased, save the state once; and once more for each state that
    the commit is put on top of. `packs` are those that were written for it.
    """

    def __init__(self, state: State) -> None:
        self.erased: Erasures = erasures(state)
        self._number = state.number
        self._entries: Callable[[], Iterable[Entry]] = tuple
        self._lists: Mapping[bytes, bytes] = {}
        self.packs: Sequence[StoredPack] = ()

    def take(self, entries: Callable[[], Iterable[Entry]], lists: Mapping[bytes, bytes]) -> None:
        """These files, and the chunk lists of those that are new, are to be in the version."""
        self._entries, self._lists = entries, lists
        refuse_files(self.erased, self._entries())

    def again(self, state: State) -> None:
        """Refuse what others erased since."""
        if state.number == self._number:
            return
        self._number, self.erased = state.number, erasures(state)
        refuse_files(self.erased, self._entries())
        for data in self._lists.values() if self.erased else ():
            level, digests, _ = chunk_list.decode_columns(data, "a list of chunks")
            hit = None if level else self.erased.first(_split(digests))
            if hit is not None:
                raise self.erased.refusal(hit, "one of the files", ADVICE)
        for pack in self.packs if self.erased else ():
            hit = self.erased.first(_split(pack.digests))
            if hit is not None:
                raise self.erased.refusal(hit, "what was read for this", "Repeat it")


def refuse_files(erased: Erasures, entries: Iterable[Entry]) -> None:
    """Refuse a file that was erased."""
    if not erased:
        return
    for entry in entries:
        if entry.kind != FOLDER and entry.digest in erased:
            raise erased.refusal(entry.digest, safe_spelling(entry.path), ADVICE)


def refuse_chunks(erased: Erasures, digests: Iterable[bytes], paths: Sequence[bytes]) -> None:
    """Refuse a chunk that was erased, in one of these files."""
    hit = erased.first(digests)
    if hit is not None:
        first = safe_spelling(paths[0])
        what = first if len(paths) == 1 else f"one of the files from {first} to {safe_spelling(paths[-1])}"
        raise erased.refusal(hit, what, ADVICE)


def _split(digests: bytes | Column) -> list[bytes]:
    return [digests[start : start + DIGEST_BYTES] for start in range(0, len(digests), DIGEST_BYTES)]
