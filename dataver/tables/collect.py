"""Statistics of the files of a source, for the commit that records them."""

from __future__ import annotations

import io
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import closing
from threading import Event
from typing import TypeVar, cast

from dataver.format.table_statistics import statistics_key
from dataver.progress import Progress
from dataver.source import Source, SourceFile
from dataver.tables.statistics import encode_bounded, file_statistics

_BUFFER_BYTES = 64 << 10

Check = Callable[[], None]
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def collect(
    source: Source, files: Sequence[tuple[SourceFile, bytes]], *, jobs: int, progress: Progress
) -> dict[bytes, bytes]:
    """The records of Parquet files with their digests, by the key that each is found under.

    Never fails: a file that changed since it was hashed, or that cannot be read, is left out.
    """
    found: dict[bytes, bytes] = {}
    progress.begin("statistics", len(files), sum(file.size for file, _ in files))
    try:
        with closing(by_threads(lambda pair, check: _record(source, *pair, check), files, jobs)) as records:
            for (file, digest), record in zip(files, records, strict=True):
                progress.advance(1, file.size)
                if record is not None:
                    found[statistics_key(digest)] = record
    finally:
        progress.end()
    return found


def by_threads(
    work: Callable[[_Item, Check], _Result], items: Sequence[_Item], jobs: int
) -> Generator[_Result, None, None]:
    """What `work` gives for each item, in order, by so many threads.

    Where this ends before all is done, as by an interrupt, nothing more is begun, and what runs is ended
    by the `CancelledError` of the `check` that it was given.
    """
    stopped = Event()

    def check() -> None:
        if stopped.is_set():
            raise CancelledError

    pool = ThreadPoolExecutor(jobs, thread_name_prefix="dataver-statistics")
    try:
        yield from pool.map(lambda item: work(item, check), items)
    finally:
        stopped.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _record(source: Source, file: SourceFile, digest: bytes, check: Check) -> bytes | None:
    try:
        with source.open_stable(file) as reader:
            if reader.file != file:
                return None
            # Whoever parses wants as many bytes as it asked for.
            buffered = io.BufferedReader(cast(io.RawIOBase, reader), _BUFFER_BYTES)
            statistics = file_statistics(buffered, check)
            buffered.detach()
            reader.check()
        return encode_bounded(digest, statistics)
    except Exception:  # noqa: BLE001 - a commit does not fail for what can be computed again
        return None
