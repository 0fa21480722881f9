"""What was erased in the two repositories of a transfer: it is not copied, and the receiver is told.

What the source erased is absent in the receiver too, which gets the records of it. What the receiver
erased it does not take: the source has to erase it first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from dataver.chunk_index import ChunkIndex
from dataver.digest import Digest
from dataver.erased import erasures
from dataver.format.operations import Erase
from dataver.format.pack import PackKind
from dataver.log.state import State
from dataver.paths import safe_spelling
from dataver.progress import Silent
from dataver.session import Session
from dataver.transfer.side import Side
from dataver.tree.manifest import Entry


class Erased:
    """The erasures of both sides. False where there are none, and then nothing is looked at.

    It contains what must not get into the receiver.
    """

    def __init__(self, source: Side, target: Side) -> None:
        self.source = erasures(source.state)
        self.target = erasures(target.state)
        self._url = source.url
        self._within: dict[PackKind, frozenset[bytes]] = {}
        self._same_cuts = source.session.parameters() == target.session.parameters()
        self._files: dict[bytes, set[bytes]] = {}

    def __bool__(self) -> bool:
        return bool(self.source) or bool(self.target)

    def __contains__(self, digest: object) -> bool:
        return digest in self.target or digest in self.source

    def within(self, kind: PackKind) -> Collection[bytes]:
        """What must not get into the receiver's packs of a kind."""
        if kind not in self._within:
            self._within[kind] = frozenset([*self.source.within(kind), *self.target.within(kind)])
        return self._within[kind]

    def is_outdated(self, state: State) -> bool:
        """Whether the receiver erased more since."""
        return len(erasures(state)) != len(self.target)

    def is_gone(self, digest: bytes) -> bool:
        """Whether an object is gone on both sides. `ErasedDataError` where the source still has it."""
        if digest not in self.target:
            return False
        if digest not in self.source:
            raise self.target.refusal(digest, "a file that is to be copied", self._advice(digest.hex()))
        return True

    def is_erased(self, entry: Entry) -> bool:
        """Whether a file was erased. `ErasedDataError` where only the receiver did that."""
        if entry.digest in self.source:
            self._files.setdefault(entry.digest, set())
            return True
        if entry.digest in self.target:
            advice = self._advice(entry.digest.hex())
            raise self.target.refusal(entry.digest, safe_spelling(entry.path), advice)
        return False

    def note(self, entry: Entry, chunks: Iterable[bytes]) -> None:
        """These chunks are of a file that was erased in the source."""
        self._files[entry.digest].update(chunks)

    def carried(self, receiver: Session, state: State) -> tuple[list[Erase], list[str]]:
        """The records that the receiver gets in a state, and the files of which it has all bytes still."""
        records: dict[bytes, str] = {}
        whole: list[str] = []
        index = receiver.index(state)
        for file, chunks in self._files.items():
            absent = _absent(index, chunks)
            told = {file: self.source.records[file]}
            told |= {chunk: self.source.records[chunk] for chunk in absent if chunk in self.source}
            if file not in self.target and (not absent or self._is_cut_otherwise(receiver, state, file)):
                # The file stays readable; the chunks of this list of it, which there are none of, say why.
                whole.append(file.hex())
                told = dict.fromkeys(told.keys() - {file}, told[file])
            records |= {digest: record for digest, record in told.items() if digest not in self.target}
        return [Erase(Digest(digest), record) for digest, record in sorted(records.items())], whole

    def _is_cut_otherwise(self, receiver: Session, state: State, file: bytes) -> bool:
        """Whether the receiver has a file in other chunks, which may be one that is the whole file."""
        if receiver.index(state).find(file) is not None:
            return True
        if self._same_cuts:
            return False
        from dataver.gc.holders import Holders

        holder = Holders(receiver, state, Silent()).of_file(file)
        return holder is not None and not _absent(receiver.index(state), holder.chunks)

    def files(self, records: Iterable[Erase]) -> int:
        """How many of these records are of files."""
        return sum(bytes(one.digest) in self._files for one in records)

    def _advice(self, digest: str) -> str:
        return (
            f"Erase it there too, `dataver --repo {self._url} erase DATASET {digest} --reason TEXT`, or copy "
            "versions without it"
        )


def _absent(index: ChunkIndex, chunks: Collection[bytes]) -> list[bytes]:
    """Those of these chunks that are nowhere."""
    each = sorted(chunks)
    places = index.find_many(b"".join(each))
    return [digest for digest, place in zip(each, places, strict=True) if place is None]
