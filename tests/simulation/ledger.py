"""What a simulated repository has promised, followed entry by entry, and what would break the promise.

The ledger sees each object at the instant at which it is created or deleted, while no machine has a
turn. It keeps its own account of names, numbers, holds and runs, so that it knows without asking the
collector which versions must be there, and says what is wrong in `findings`.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from dataver.digest import Digest
from dataver.format.entry import Entry, decode_entry, entry_digest
from dataver.format.operations import (
    CONDEMN,
    FORGET,
    AliasSet,
    BranchSet,
    DatasetCreate,
    DatasetDelete,
    DatasetRename,
    DatasetRestore,
    Erase,
    GcMark,
    GcRestore,
    GcSweep,
    Hold,
    IndexReplace,
    Operation,
    RefDelete,
    RunEnd,
    RunLink,
    RunStart,
    Shallow,
    TagCreate,
    VersionAdd,
    VersionMark,
    VersionNumber,
)
from dataver.keys import HINT_KEY, LOG_PREFIX, pack_key
from dataver.log.log import Log, Tail
from dataver.log.state import State
from dataver.session import Session
from dataver.testing.simulated import Bucket
from tests.simulation.closure import closure_of
from tests.simulation.contents import Files, digest

Key = tuple[bytes, bytes]
"""A dataset's id and a version's."""


@dataclass(slots=True)
class Attempt:
    """A change that a machine is making. Its number is the version's message, by which it is known again.

    `base` is the version that it is measured against, None for the first; without `below` files are
    added, else those are all the files below that folder. `as_version`: the files are that version's.
    """

    base: str | None
    puts: Files = field(default_factory=dict)
    below: str | None = None
    as_version: str | None = None

    def edits(self, before: Files) -> dict[str, int | None]:
        """What it changes, against the files of its base."""
        edits: dict[str, int | None] = {p: k for p, k in self.puts.items() if before.get(p) != k}
        if self.below is not None:
            gone = (path for path in before if path.startswith(f"{self.below}/") and path not in self.puts)
            edits.update(dict.fromkeys(gone))
        return edits


@dataclass(slots=True)
class Known:
    """A version: its parents and its files as they must be. `left` counts how often nothing kept it."""

    id: Digest
    parents: tuple[Digest, ...]
    files: Files
    message: str
    needs: frozenset[bytes]
    condemned: bool = False
    forgotten: bool = False
    left: int = 0


class Ledger:
    """Watches a bucket. `stop` is called at the first finding.

    `twin` is the ledger of another repository that versions come from, or go to, as they are.
    """

    def __init__(self, bucket: Bucket, stop: Callable[[], None], findings: list[str]) -> None:
        self.findings = findings
        self.twin: Ledger | None = None
        self.attempts: dict[str, Attempt] = {}
        self.versions: dict[Key, Known] = {}
        self.names: dict[str, bytes] = {}
        self.deleted: dict[bytes, str] = {}
        self.refs: dict[tuple[bytes, str], Digest] = {}
        self.ever: set[tuple[str, ...]] = set()
        self.moves: Counter[tuple[bytes, str]] = Counter()
        self.numbers: dict[tuple[bytes, int], Digest] = {}
        self.holds: dict[str, Digest] = {}
        self.used: set[bytes] = set()
        self.records: set[bytes] = set()
        self.erased: set[bytes] = set()
        self.gone: set[bytes] = set()
        """Files whose erasure was carried through to its end, and somebody was told so."""
        self.swept: set[bytes] = set()
        self.counts: Counter[str] = Counter()
        self.entry = -1
        self._last = b""
        self._stop = stop
        self._bucket = bucket
        self.session = Session(bucket, Log(bucket), jobs=1)
        bucket.created, bucket.deleted = self._created, self._was_deleted

    def found(self, what: str) -> None:
        """Something is wrong."""
        self.findings.append(f"{self._bucket.name}: {what}")
        self._stop()

    # What must be there

    def required(self) -> dict[Key, Known]:
        """The versions that a name, number, hold or run leads to, with what they descend from."""
        found: dict[Key, Known] = {}
        for dataset, start in self._roots():
            waiting = [start]
            while waiting:
                key = dataset, bytes(waiting.pop())
                known = self.versions.get(key)
                if known is not None and not known.condemned and key not in found:
                    found[key] = known
                    waiting += known.parents
        return found

    def keeps(self, known: Known) -> bool:
        """Whether something keeps a version now."""
        return any(known is one for one in self.required().values())

    def moved(self, dataset: str, name: str) -> tuple[bytes | None, int]:
        """What tells whether a name has led to the same all the time."""
        id = self.names.get(dataset)
        return id, 0 if id is None else self.moves[id, name]

    def named(self) -> list[tuple[str, Known]]:
        """Each name that leads to a version, and that."""
        by_id = {id: name for name, id in self.names.items()}
        found = [
            (f"{by_id[dataset]}@{name}", self.versions[dataset, target])
            for (dataset, name), target in self.refs.items()
            if dataset in by_id
        ]
        return found + [
            (f"{by_id[dataset]}@v{number}", known)
            for (dataset, number), target in self.numbers.items()
            if dataset in by_id and (known := self.versions.get((dataset, target))) and not known.condemned
        ]

    def _roots(self) -> Iterator[Key]:
        live = set(self.names.values())
        yield from ((dataset, target) for (dataset, _), target in self.refs.items() if dataset in live)
        yield from ((dataset, target) for (dataset, _), target in self.numbers.items() if dataset in live)
        pinned = {*self.holds.values(), *self.used}
        yield from (key for key in self.versions if key[1] in pinned)

    def _pinned(self) -> set[Key]:
        """The versions that are named themselves, in whatever way but by a number."""
        live = set(self.names.values())
        pinned = {(dataset, bytes(target)) for (dataset, _), target in self.refs.items() if dataset in live}
        held = {*self.holds.values(), *self.used}
        return pinned | {key for key in self.versions if key[1] in held}

    # What happens

    def _created(self, key: str, data: bytes) -> None:
        try:
            if key.startswith(LOG_PREFIX) and key != HINT_KEY:
                self._take(data)
            elif any(key.endswith(name.hex()) for name in self.swept):
                self.found(f"{key} was created again, after it was swept")
        except Exception:  # noqa: BLE001 - whatever the ledger cannot follow is a finding
            self.found(f"{key} cannot be followed:\n{traceback.format_exc(limit=-6)}")

    def _was_deleted(self, key: str) -> None:
        if not any(key.endswith(name.hex()) for name in self.swept):
            self.found(f"{key} was deleted, and no entry swept it")

    def _take(self, data: bytes) -> None:
        entry = decode_entry(data, "a new entry")
        if entry.number != self.entry + 1 or (self.entry >= 0 and entry.previous != self._last):
            self.found(f"entry {entry.number} does not follow on entry {self.entry}")
        self.entry, self._last = entry.number, entry_digest(data)
        state = self.session.log.state_of(Tail(entry, Digest(self._last), data))
        for operation in entry.operations:
            self._apply(operation, entry, state)
        self._note_left()
        self._check_places(state)

    def _apply(self, operation: Operation, entry: Entry, state: State) -> None:
        match operation:
            case DatasetCreate():
                self.names[operation.name] = operation.dataset
            case DatasetRename():
                self.names[operation.new_name] = self.names.pop(operation.name)
            case DatasetDelete():
                self.deleted[self.names.pop(operation.name)] = operation.name
            case DatasetRestore():
                self.names[self.deleted.pop(operation.dataset)] = operation.dataset
            case VersionAdd():
                self._add(operation, state)
            case BranchSet() | TagCreate() | AliasSet():
                self.refs[operation.dataset, operation.name] = operation.target
                self.moves[operation.dataset, operation.name] += 1
                self.ever.add(("ref", operation.dataset.hex(), operation.name, str(operation.target)))
                if isinstance(operation, BranchSet):
                    self._number(operation.dataset, operation.first_number, operation.numbered)
            case VersionNumber():
                self._number(operation.dataset, operation.first_number, operation.numbered)
            case RefDelete():
                self.refs.pop((operation.dataset, operation.name), None)
                self.moves[operation.dataset, operation.name] += 1
                self.ever.add(("gone", operation.dataset.hex(), operation.name, str(operation.expected)))
            case Hold():
                if operation.target is None:
                    self.holds.pop(operation.name, None)
                else:
                    self.holds[operation.name] = operation.target
                self.ever.add(("hold", operation.name, str(operation.target)))
            case RunStart() | RunEnd():
                self.records.add(operation.record)
            case RunLink():
                self.used.update(operation.versions)
                self.ever.add(("run", operation.run.hex()))
            case Erase():
                self.erased.add(operation.digest)
            case GcSweep():
                self.swept.update((*operation.packs, *operation.segments))
                self.counts["sweeps"] += 1
            case VersionMark():
                self._mark(operation, entry)
            case IndexReplace():
                self.counts["merges"] += 1
            case GcMark():
                self.counts["marks"] += 1
            case GcRestore():
                self.counts["spared"] += any(isinstance(other, VersionAdd) for other in entry.operations)
            case _:
                pass

    def _number(self, dataset: bytes, first: int, versions: Iterable[Digest]) -> None:
        for number, version in enumerate(versions, first):
            if self.numbers.get((dataset, number), version) != version:
                self.found(f"v{number} was given twice")
            self.numbers[dataset, number] = version

    def _mark(self, operation: VersionMark, entry: Entry) -> None:
        if operation.kind == CONDEMN:
            shallow = (other for other in entry.operations if isinstance(other, Shallow))
            pruned = {id for other in shallow if other.dataset == operation.dataset for id in other.absent}
            required, pinned = self.required(), self._pinned()
            for id in operation.versions:
                key = operation.dataset, bytes(id)
                if key in pinned or (key in required and id not in pruned):
                    self.found(f"entry {entry.number} condemns version {id}, which is kept")
        for id in operation.versions:
            known = self.versions[operation.dataset, bytes(id)]
            known.condemned = operation.kind in (CONDEMN, FORGET)
            known.forgotten = operation.kind == FORGET

    def _note_left(self) -> None:
        required = self.required()
        for key, known in self.versions.items():
            if key not in required:
                known.left += 1

    # Versions

    def _add(self, operation: VersionAdd, state: State) -> None:
        before = self.versions.get((operation.dataset, operation.version))
        if before is not None and not before.condemned:
            return
        record = self.session.record(operation.version, state)
        key = operation.dataset, bytes(operation.version)
        version = state.version(operation.dataset, operation.version)
        if version is None:
            self.found(f"version {operation.version} was added and is not there")
            return
        numbers = [number for (dataset, number), id in self.numbers.items() if (dataset, bytes(id)) == key]
        if numbers and version.number not in numbers:
            self.found(f"version {operation.version} came back as v{version.number}, not as one of {numbers}")
        actual, needs = closure_of(self.session, state, version)
        known = before or (self.twin and self.twin.versions.get(key))
        files = (
            known.files if known else self._files(operation.dataset, record.message, record.parents, actual)
        )
        if actual != {path: digest(number) for path, number in files.items()}:
            self.found(f"version {operation.version} ({record.message}) holds {sorted(actual)}, not {files}")
        self.versions[key] = Known(
            operation.version, record.parents, files, record.message, frozenset(needs),
            left=0 if before is None else before.left,
        )  # fmt: skip

    def _files(
        self, dataset: bytes, message: str, parents: tuple[Digest, ...], actual: dict[str, bytes]
    ) -> Files:
        """What a version must hold, by the change that it is said to be, on top of its parent."""
        attempt = self.attempts[message]
        if attempt.as_version is not None:
            # What others changed meanwhile stays beside what goes back: each path is as in one of the two.
            then = self._version(dataset, attempt.as_version).files
            now = self.versions[dataset, bytes(parents[0])].files
            return {
                path: number
                for path in {*then, *now}
                if ((number := then.get(path)) is not None and actual.get(path) == digest(number))
                or ((number := now.get(path)) is not None and path in actual)
            }
        base = {} if attempt.base is None else self._version(dataset, attempt.base).files
        edits = attempt.edits(base)
        head = self.versions[dataset, bytes(parents[0])].files if parents else {}
        theirs = {path for path in {*base, *head} if base.get(path) != head.get(path)}
        lost = [path for path in edits if path in theirs and edits[path] != head.get(path)]
        if lost:
            self.found(f"{message} overwrote what others made of {lost}: an update was lost")
        merged = {**head, **edits}
        return {path: number for path, number in merged.items() if number is not None}

    def _version(self, dataset: bytes, id: str) -> Known:
        return self.versions[dataset, bytes.fromhex(id)]

    def _check_places(self, state: State) -> None:
        """Of what is not condemned everything is in packs that are there and not even marked."""
        needed: dict[bytes, str] = dict.fromkeys(self.records, "a run's record")
        for known in self.versions.values():
            if not known.condemned:
                needed.update(dict.fromkeys(known.needs, f"version {known.id} ({known.message})"))
        wanted = [one for one in needed if one not in self.erased]
        if not wanted:
            return
        index = self.session.index(state, writing=True)
        for one, found in zip(wanted, index.find_many(b"".join(wanted)), strict=True):
            if found is None:
                self.found(
                    f"entry {self.entry}: {needed[one]} needs {one.hex()}, which is nowhere, or marked"
                )
                return
            if pack_key(found.pack) not in self._bucket.objects:
                self.found(f"entry {self.entry}: {needed[one]} needs {pack_key(found.pack)}, which is gone")
                return
