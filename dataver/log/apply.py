"""What each operation does to the state.

`checked` is how a writer makes sure that its operations may follow, and how `verify` replays a
history; readers of entries that were accepted leave the checks out and read less.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import replace
from functools import singledispatchmethod

from dataver.errors import ConflictError
from dataver.format.operations import (
    ALIAS,
    BRANCH,
    CONDEMN,
    FORGET,
    SPARE,
    TAG,
    AliasSet,
    BranchSet,
    ConfigSet,
    DatasetCreate,
    DatasetDelete,
    DatasetRename,
    DatasetRestore,
    Erase,
    GcMark,
    GcRestore,
    GcSweep,
    Genesis,
    Hold,
    IndexAdd,
    IndexReplace,
    ModelCreate,
    ModelFiles,
    Operation,
    RefDelete,
    RunEnd,
    RunLink,
    RunStart,
    RunTracker,
    Shallow,
    Sign,
    TagCreate,
    Unknown,
    VersionAdd,
    VersionMark,
    VersionNumber,
)
from dataver.log import state as keys
from dataver.log.state import RefState, SegmentState, State, VersionState

_MARK = struct.Struct("<QB")
_ENTRY = struct.Struct("<Q")


class Applier:
    """Applies the operations of entry `number` to `state.changes`, in order."""

    def __init__(self, state: State, number: int, *, checked: bool) -> None:
        self._state = state
        self._number = number
        self._checked = checked

    def apply(self, operations: Iterable[Operation]) -> None:
        """Apply all. Where checked, one that may not follow is a `ConflictError`."""
        one = self._one  # Looked up once: that makes a function of it.
        for operation in operations:
            one(operation)

    def _set(self, key: bytes, value: bytes | None) -> None:
        self._state.changes[key] = value

    def _expect(self, holds: object, what: str) -> None:
        if not holds:
            raise ConflictError(f"{what}; read the repository again and repeat")

    @singledispatchmethod
    def _one(self, operation: Operation) -> None:
        raise TypeError(f"{type(operation).__name__} cannot be applied")

    @_one.register(Genesis)
    @_one.register(Unknown)
    def _(self, operation: Genesis | Unknown) -> None:
        """They change nothing: the genesis is read from entry 0, the unknown may be ignored."""
        del operation

    @_one.register(DatasetCreate)
    def _(self, operation: DatasetCreate) -> None:
        if self._checked:
            self._expect(self._state.dataset(operation.name) is None, f"dataset {operation.name} exists")
        self._set(keys.DATASET + operation.name.encode(), operation.dataset)

    @_one.register(DatasetRename)
    def _(self, operation: DatasetRename) -> None:
        if self._checked:
            self._named(operation.dataset, operation.name)
            self._expect(self._state.dataset(operation.new_name) is None, f"{operation.new_name} exists")
        self._set(keys.DATASET + operation.name.encode(), None)
        self._set(keys.DATASET + operation.new_name.encode(), operation.dataset)

    @_one.register(DatasetDelete)
    def _(self, operation: DatasetDelete) -> None:
        if self._checked:
            self._named(operation.dataset, operation.name)
        self._set(keys.DATASET + operation.name.encode(), None)
        self._set(keys.DELETED + operation.dataset, operation.name.encode())

    @_one.register(DatasetRestore)
    def _(self, operation: DatasetRestore) -> None:
        if self._checked:
            self._expect(self._state.get(keys.DELETED + operation.dataset), "it is not deleted")
            self._expect(self._state.dataset(operation.name) is None, f"dataset {operation.name} exists")
            for ref in self._state.refs(operation.dataset):
                if not ref.deleted:
                    self._may_be_named(operation.dataset, ref.target, ref.name)
        self._set(keys.DELETED + operation.dataset, None)
        self._set(keys.DATASET + operation.name.encode(), operation.dataset)

    @_one.register(VersionAdd)
    def _(self, operation: VersionAdd) -> None:
        version = VersionState(
            operation.version,
            self._number,
            0,
            operation.manifest,
            operation.files,
            operation.size_bytes,
            operation.new_bytes,
            operation.stored_bytes,
            operation.run,
        )
        key = keys.VERSION + operation.dataset + operation.version
        before = self._state.get(key)
        if before is None:
            self._set(key, version.pack())
        elif keys.is_condemned(before):
            # Whoever adds it put all that it is made of, and relies on nothing that was there for it.
            packed = version.pack()
            self._set(key, packed[:8] + before[8:16] + packed[16:])
            self._set(keys.CONDEMNED + operation.dataset + operation.version, None)

    @_one.register(BranchSet)
    def _(self, operation: BranchSet) -> None:
        if self._checked:
            self._moves(operation.dataset, BRANCH, operation.name, operation.expected)
            self._may_be_named(operation.dataset, operation.target, operation.name)
        self._set_ref(operation.dataset, RefState(BRANCH, operation.name, operation.target))
        self._give_numbers(operation.dataset, operation.first_number, operation.numbered)

    @_one.register(VersionNumber)
    def _(self, operation: VersionNumber) -> None:
        if self._checked:
            for version in operation.numbered:
                self._may_be_named(operation.dataset, version, "a number")
        self._give_numbers(operation.dataset, operation.first_number, operation.numbered)

    @_one.register(Shallow)
    def _(self, operation: Shallow) -> None:
        for version in operation.absent:
            if self._checked:
                self._expect(not self._has(operation.dataset, version), f"version {version} is here")
            self._set(keys.SHALLOW + operation.dataset + version, _ENTRY.pack(self._number))
        for version in operation.present:
            if self._checked:
                self._expect(self._has(operation.dataset, version), f"version {version} is not here")
            self._set(keys.SHALLOW + operation.dataset + version, None)

    @_one.register(TagCreate)
    def _(self, operation: TagCreate) -> None:
        if self._checked:
            self._moves(operation.dataset, TAG, operation.name, None, operation.target)
            self._may_be_named(operation.dataset, operation.target, operation.name)
        self._set_ref(operation.dataset, RefState(TAG, operation.name, operation.target))

    @_one.register(AliasSet)
    def _(self, operation: AliasSet) -> None:
        if self._checked:
            self._moves(operation.dataset, ALIAS, operation.name, operation.expected)
            self._may_be_named(operation.dataset, operation.target, operation.name)
        self._set_ref(operation.dataset, RefState(ALIAS, operation.name, operation.target))

    @_one.register(RefDelete)
    def _(self, operation: RefDelete) -> None:
        if self._checked:
            self._moves(operation.dataset, operation.kind, operation.name, operation.expected)
        gone = RefState(operation.kind, operation.name, operation.expected, deleted=True)
        self._set_ref(operation.dataset, gone)

    @_one.register(RunStart)
    def _(self, operation: RunStart) -> None:
        from dataver.log.run_state import RunState

        key = keys.RUN + operation.run
        if self._checked:
            self._expect(self._state.get(key) is None, f"run {operation.run.hex()} exists")
        self._set(key, RunState(operation.run, self._number, operation.record, None, 0).pack())
        self._set(keys.RUN_ORDER + self._number.to_bytes(8, "big") + operation.run, b"")

    @_one.register(RunEnd)
    def _(self, operation: RunEnd) -> None:
        from dataver.log.run_state import run_state

        begun = self._state.get(keys.RUN + operation.run)
        if self._checked:
            self._expect(begun is not None, f"run {operation.run.hex()} was never started")
        if begun is not None:
            run = replace(run_state(operation.run, begun), end=operation.record, status=operation.status)
            self._set(keys.RUN + operation.run, run.pack())

    @_one.register(ModelCreate)
    def _(self, operation: ModelCreate) -> None:
        key = keys.MODEL + operation.name.encode() + b"\0" + operation.number.to_bytes(8, "big")
        if self._checked:
            self._expect(self._state.get(key) is None, f"model {operation.name}@v{operation.number} exists")
        self._set(key, operation.run + operation.record)
        self._set(keys.MODEL_BY_RUN + operation.run + key[4:], b"")

    @_one.register(RunLink)
    def _(self, operation: RunLink) -> None:
        for version in operation.versions:
            key = keys.USED + version + operation.run
            before = self._state.get(key)
            self._set(key, bytes([operation.kind | (before[0] if before else 0)]))

    @_one.register(RunTracker)
    def _(self, operation: RunTracker) -> None:
        self._set(keys.TRACKED + operation.name.encode() + b"\0" + operation.run, b"")

    @_one.register(ModelFiles)
    def _(self, operation: ModelFiles) -> None:
        model = operation.name.encode() + b"\0" + operation.number.to_bytes(8, "big")
        for digest in operation.digests:
            self._set(keys.MODEL_BY_DIGEST + digest + model, b"")

    @_one.register(IndexAdd)
    def _(self, operation: IndexAdd) -> None:
        segment = SegmentState(operation.segment, operation.keys, operation.size_bytes)
        self._set(keys.SEGMENT + operation.segment, segment.pack())

    @_one.register(IndexReplace)
    def _(self, operation: IndexReplace) -> None:
        inputs = [keys.SEGMENT + name for name in operation.inputs]
        if any(self._state.get(key) is None for key in inputs):
            return
        for key in inputs:
            self._set(key, None)
        segment = SegmentState(operation.output, operation.keys, operation.size_bytes)
        self._set(keys.SEGMENT + operation.output, segment.pack())

    @_one.register(GcMark)
    def _(self, operation: GcMark) -> None:
        for name, kind in _names(operation):
            self._set(keys.MARKED + name, _MARK.pack(self._number, kind))

    @_one.register(GcSweep)
    def _(self, operation: GcSweep) -> None:
        for name, kind in _names(operation):
            if self._checked:
                self._expect(self._state.get(keys.MARKED + name), f"{name.hex()} is not marked")
            self._set(keys.MARKED + name, None)
            self._set(keys.SWEPT + name, _MARK.pack(self._number, kind))

    @_one.register(GcRestore)
    def _(self, operation: GcRestore) -> None:
        for name, _ in _names(operation):
            self._set(keys.MARKED + name, None)

    @_one.register(VersionMark)
    def _(self, operation: VersionMark) -> None:
        for version in operation.versions:
            key = keys.VERSION + operation.dataset + version
            value = self._state.get(key)
            if self._checked:
                is_condemned = value is not None and keys.is_condemned(value)
                fits = value is not None and is_condemned != (operation.kind == CONDEMN)
                self._expect(fits, f"version {version} was condemned, spared or collected meanwhile")
            if value is None:
                continue
            entry = int.from_bytes(value[:8], "little") & ~keys.VERSION_CONDEMNED
            if operation.kind == CONDEMN:
                entry |= keys.VERSION_CONDEMNED
            condemned = _ENTRY.pack(self._number) if operation.kind == CONDEMN else None
            self._set(keys.CONDEMNED + operation.dataset + version, condemned)
            if operation.kind == SPARE:
                self._set(keys.SHALLOW + operation.dataset + version, None)
            self._set(key, None if operation.kind == FORGET else _ENTRY.pack(entry) + value[8:])

    @_one.register(ConfigSet)
    def _(self, operation: ConfigSet) -> None:
        self._set(keys.CONFIG + operation.key.encode(), operation.value.encode() or None)

    @_one.register(Erase)
    def _(self, operation: Erase) -> None:
        self._set(keys.ERASED + operation.digest, operation.record.encode())

    @_one.register(Hold)
    def _(self, operation: Hold) -> None:
        if self._checked and operation.target is not None:
            datasets = [dataset for _, dataset in self._state.datasets()]
            has = any(self._has(dataset, operation.target) for dataset in datasets)
            self._expect(has, f"version {operation.target} is not here, or was collected")
        self._set(keys.HELD + operation.name.encode(), operation.target)

    @_one.register(Sign)
    def _(self, operation: Sign) -> None:
        self._set(keys.SIGNATURE + operation.subject + operation.signer, operation.envelope)

    def _set_ref(self, dataset: bytes, ref: RefState) -> None:
        self._set(keys.REF + dataset + ref.name.encode(), ref.pack())

    def _may_be_named(self, dataset: bytes, version: bytes, by: str) -> None:
        there = self._has(dataset, version)
        self._expect(there, f"{by} names version {version.hex()}, which is not here, or was collected")

    def _has(self, dataset: bytes, version: bytes) -> bool:
        return self._state.version(dataset, version) is not None

    def _give_numbers(self, dataset: bytes, first_number: int, versions: Iterable[bytes]) -> None:
        for number, version in enumerate(versions, first_number):
            key = keys.NUMBER + dataset + number.to_bytes(8, "big")
            if self._checked:
                # One that is added again, after it was forgotten, is told its own.
                self._expect(self._state.get(key) in (None, version), f"v{number} is given already")
            self._set(key, version)
            self._number_version(dataset, version, number)

    def _number_version(self, dataset: bytes, version: bytes, number: int) -> None:
        key = keys.VERSION + dataset + version
        value = self._state.get(key)
        if value is not None:
            self._set(key, value[:8] + number.to_bytes(8, "little") + value[16:])

    def _named(self, dataset: bytes, name: str) -> None:
        self._expect(self._state.dataset(name) == dataset, f"dataset {name} was renamed or deleted meanwhile")

    def _moves(
        self, dataset: bytes, kind: int, name: str, expected: bytes | None, target: bytes | None = None
    ) -> None:
        """A name that is there must be of this kind and at `expected`; one that is not, unexpected."""
        ref = self._state.ref(dataset, name)
        if ref is None or ref.deleted:
            self._expect(expected is None, f"{KIND[kind]} {name} is gone")
            if ref is not None and ref.kind == TAG:
                self._expect(
                    kind == TAG and ref.target == target,
                    f"{name} was a tag at {ref.target}, and a tag's name may only come back there",
                )
            return
        self._expect(ref.kind == kind, f"{name} is a {KIND[ref.kind]}")
        self._expect(expected == ref.target, f"{KIND[kind]} {name} is at {ref.target}")


KIND = keys.KIND_NAMES


def _names(operation: GcMark | GcSweep | GcRestore) -> list[tuple[bytes, int]]:
    packs = [(bytes(name), keys.PACK_NAME) for name in operation.packs]
    return packs + [(bytes(name), keys.SEGMENT_NAME) for name in operation.segments]
