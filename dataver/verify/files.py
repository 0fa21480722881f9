"""Whole files: those of many chunks, and those that stayed where they are, against their digests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Executor

from dataver.errors import DamagedError, DataverError, ErasedError, NewerFormatError, ObjectMissingError
from dataver.paths import safe_spelling
from dataver.progress import Progress
from dataver.reading import file_blocks, reference_blocks
from dataver.tree.manifest import REFERENCE, Entry
from dataver.verify.findings import Findings, plain
from dataver.verify.manifests import FileKey
from dataver.verify.metadata import Metadata
from dataver.verify.workers import in_order

FILES_IN_FLIGHT = 64


class Files:
    """Reads files whole. `bad` are those that are not what their digest says, with whom to blame."""

    def __init__(self, metadata: Metadata, findings: Findings) -> None:
        self._metadata = metadata
        self._findings = findings
        self.bad: dict[FileKey, str] = {}

    def check(self, files: Mapping[FileKey, Entry], pool: Executor, progress: Progress) -> None:
        """Read each file, some at a time."""
        total = sum(entry.size for entry in files.values())
        progress.begin("verifying files", len(files), total)
        try:
            for entry in in_order(pool, self._one, files.items(), FILES_IN_FLIGHT):
                progress.advance(1, entry.size)
        finally:
            progress.end()

    def _one(self, file: tuple[FileKey, Entry]) -> Entry:
        key, entry = file
        culprit = self._refer(entry) if entry.kind == REFERENCE else self._read(entry)
        if culprit is not None:
            self.bad[key] = culprit
        return entry

    def _read(self, entry: Entry) -> str | None:
        try:
            _drain(file_blocks(entry, self._metadata.objects))
        except ErasedError:
            return None  # Some of it was erased with another file, which is no damage.
        except (DamagedError, NewerFormatError, ObjectMissingError) as error:
            assert entry.chunks is not None
            return self._metadata.fault(entry.chunks, f"{safe_spelling(entry.path)}: {plain(error)}")
        return None

    def _refer(self, entry: Entry) -> str | None:
        reference = entry.reference
        assert reference is not None
        self._findings.looked_at()
        try:
            for block in reference_blocks(entry):
                self._findings.looked_at(0, sum(map(len, block)))
        except DataverError as error:
            # Also one whose store fails: a host that is gone is no reason to leave the rest unchecked.
            return self._findings.add(reference[0], plain(error))
        return None


def _drain(blocks: Iterator[object]) -> None:
    for _ in blocks:
        pass
