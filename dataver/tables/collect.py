"""Statistics of the files of a source, for the commit that records them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import cast

from dataver.format.table_statistics import statistics_key
from dataver.progress import Progress
from dataver.source import Source, SourceFile
from dataver.tables.statistics import encode_bounded, file_statistics

_BUFFER_BYTES = 64 << 10


def collect(
    source: Source, files: Sequence[tuple[SourceFile, bytes]], *, jobs: int, progress: Progress
) -> dict[bytes, bytes]:
    """The records of Parquet files with their digests, by the key that each is found under.

    Never fails: a file that changed since it was hashed, or that cannot be read, is left out.
    """
    found: dict[bytes, bytes] = {}
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="dataver-statistics")
    progress.begin("statistics", len(files), sum(file.size for file, _ in files))
    try:
        records = pool.map(lambda pair: _record(source, *pair), files)
        for (file, digest), record in zip(files, records, strict=True):
            progress.advance(1, file.size)
            if record is not None:
                found[statistics_key(digest)] = record
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        progress.end()
    return found


def _record(source: Source, file: SourceFile, digest: bytes) -> bytes | None:
    try:
        with source.open_stable(file) as reader:
            if reader.file != file:
                return None
            # Whoever parses wants as many bytes as it asked for.
            buffered = io.BufferedReader(cast(io.RawIOBase, reader), _BUFFER_BYTES)
            statistics = file_statistics(buffered)
            buffered.detach()
            reader.check()
        return encode_bounded(digest, statistics)
    except Exception:  # noqa: BLE001 - a commit does not fail for what can be computed again
        return None
