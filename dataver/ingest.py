"""The way in: files to cuts, digests, frames and packs.

The caller's thread lists, reads large files and finds their cuts, and fills packs in file order.
Worker threads read small files, hash chunks, look up which are known and compress the others. The
bytes under way are bounded, whatever the sizes of files.
"""

from __future__ import annotations

import io
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import field
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from dataver.chunk_index import ChunkIndex
from dataver.chunking import ChunkerParameters
from dataver.chunking.fastcdc import cuts
from dataver.chunking.parquet import forced_cuts
from dataver.chunking.stream import Cutter
from dataver.compression import Codec, looks_incompressible
from dataver.digest import DIGEST_BYTES
from dataver.erased import Erasures
from dataver.errors import SourceChangedError
from dataver.format.chunk_list import ListRow
from dataver.framing import Framer, FrameSink, Piece
from dataver.hashing import EMPTY_DIGEST, FileHasher, blake3_digest, digests
from dataver.packs import NewFrame
from dataver.progress import Progress, Silent
from dataver.refusals import refuse_chunks, refuse_files
from dataver.source import EMPTY_FOLDER, FILE, NOISY, Source, SourceFile, SourceReader, pauses
from dataver.source.faults import changed
from dataver.tree import chunk_list
from dataver.tree.manifest import Entry, chunks_extra
from dataver.values import dataclass

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

SMALL_BYTES_MAX = 1 << 20
BATCH_BYTES = 4 << 20
BATCH_FILES = 256
WINDOW_BYTES = 4 << 20
BUFFERS_WAITING = 4
"""So many windows wait while the workers have one each. More would keep nobody busier, and the first touch
of memory costs more than the hashing of what is read into it."""

_PARQUET_MAGIC = b"PAR1"


@dataclass(slots=True)
class Ingested:
    """What `ingest` did. `entries` and `files` stand in the order of the files given.

    `files` have the stamps that belong to the bytes read. `list_nodes` are the chunk lists of
    files with more than one chunk, to be stored beside the manifest.
    """

    entries: list[Entry] = field(default_factory=list)
    files: list[SourceFile] = field(default_factory=list)
    list_nodes: dict[bytes, bytes] = field(default_factory=dict)
    new_bytes: int = 0


def ingest(
    source: Source,
    files: Sequence[SourceFile],
    sink: FrameSink,
    index: ChunkIndex,
    parameters: ChunkerParameters,
    *,
    jobs: int,
    progress: Progress | None = None,
    erased: Erasures | None = None,
) -> Ingested:
    """Read `files` and hand the frames of chunks that `index` does not know to `sink`.

    A chunk of `erased` is an `ErasedDataError` before any byte of it is handed over. A file that changes
    while it is read is read again, then `SourceChangedError` names it. What `sink` got before an error is
    garbage that nothing names.
    """
    known = _Known(index)
    return _Ingest(source, sink, known, parameters, progress or Silent(), erased, jobs).run(files)


def digest_files(
    source: Source, files: Sequence[SourceFile], *, jobs: int, progress: Progress | None = None
) -> Ingested:
    """Read `files` for their digests alone: the entries have no chunks, and nothing is kept."""
    from concurrent.futures import ThreadPoolExecutor

    watcher = progress or Silent()
    done = Ingested()
    with ThreadPoolExecutor(jobs, thread_name_prefix="dataver-read") as pool:
        for file, digest in pool.map(lambda file: _digest_file(source, file), files):
            done.files.append(file)
            done.entries.append(_entry(file, digest))
            watcher.advance(1, file.size)
    return done


def _digest_file(source: Source, file: SourceFile) -> tuple[SourceFile, bytes]:
    if file.kind == EMPTY_FOLDER:
        return file, EMPTY_DIGEST
    if file.kind != FILE or file.size <= SMALL_BYTES_MAX:
        data, file = source.read_small(file)
        return file, blake3_digest(data)
    for _ in pauses():
        hasher, size = FileHasher(), 0
        with suppress(SourceChangedError), source.open_stable(file) as reader:
            while block := reader.read(WINDOW_BYTES):
                hasher.update(block)
                size += len(block)
            reader.check()
            if size == reader.file.size:
                return reader.file, hasher.digest()
    raise changed(file)


class _Known:
    """Which chunks need not be stored: those the index has, and those stored by this very work."""

    def __init__(self, index: ChunkIndex) -> None:
        self._index = index if index.names else None
        self._claimed: set[bytes] = set()
        self._lock = threading.Lock()

    def claim(self, digests: list[bytes]) -> list[bool]:
        """For each digest whether the caller is the one who stores it."""
        with self._lock:
            mine = []
            for digest in digests:
                mine.append(digest not in self._claimed)
                self._claimed.add(digest)
        if self._index is None or not any(mine):
            return mine
        places = self._index.find_many(b"".join(digests))
        return [own and place is None for own, place in zip(mine, places, strict=True)]


class _GivenUpError(Exception):
    """Ends the work, since a file never held still."""

    def __init__(self, reason: SourceChangedError) -> None:
        super().__init__(str(reason))
        self.reason = reason


class _Result(NamedTuple):
    """What a worker made of a batch of small files or of a window of a large one.

    A batch has its files and their entries, a window the rows of its chunks. `buffer` is what was read
    into, free again when the frames have been handed on.
    """

    weight: int
    files: list[SourceFile]
    entries: list[Entry]
    rows: list[ListRow]
    frames: list[NewFrame]
    new_bytes: int
    buffer: bytearray | None

    @property
    def is_in_frames(self) -> bool:
        """Whether bytes that were read are in the frames as they are, and not as zstd made them."""
        return any(frame.codec == Codec.RAW for frame in self.frames)


class _Buffers:
    """Buffers of one size that are used again and again, at most `limit` of them. For one thread.

    The first touch of a page of memory costs more than what is done with its bytes.
    """

    def __init__(self, size_bytes: int, limit: int, sink: FrameSink) -> None:
        self._size_bytes = size_bytes
        self._unmade = limit
        self._sink = sink
        self._free: list[bytearray] = []
        self._lent: deque[tuple[int, bytearray]] = deque()

    def take(self, *, wait: bool) -> bytearray | None:
        """A buffer, or None where all are in use; with `wait`, the first that the sink gives back."""
        while self._lent and self._sink.settle(self._lent[0][0], wait=wait and not self._free):
            self._free.append(self._lent.popleft()[1])
        if self._free:
            return self._free.pop()
        if not self._unmade:
            return None
        self._unmade -= 1
        return bytearray(self._size_bytes)

    def give_back(self, buffer: bytearray, *, in_frames: bool) -> None:
        """Free again, at once or, where frames have its bytes, when the sink has done with all it got."""
        if in_frames:
            self._lent.append((self._sink.frames, buffer))
        else:
            self._free.append(buffer)


class _Ingest:
    """One run: the pool, what is under way, and what came of it."""

    def __init__(
        self,
        source: Source,
        sink: FrameSink,
        known: _Known,
        parameters: ChunkerParameters,
        progress: Progress,
        erased: Erasures | None,
        jobs: int,
    ) -> None:
        self._jobs = jobs
        self._source = source
        self._erased = erased
        self._sink = sink
        self._known = known
        self._parameters = parameters
        self._progress = progress
        self._done = Ingested()
        self._waiting: deque[tuple[Future[_Result], Callable[[_Result], None]]] = deque()
        self._window_bytes = max(WINDOW_BYTES, 2 * parameters.max_bytes)
        size_bytes = max(self._window_bytes, BATCH_BYTES + SMALL_BYTES_MAX)
        self._buffers = _Buffers(size_bytes, jobs + BUFFERS_WAITING, sink)

    def run(self, files: Sequence[SourceFile]) -> Ingested:
        if not files:
            return self._done
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(self._jobs, thread_name_prefix="dataver-ingest") as pool:
            try:
                for batch in _batches(files):
                    if len(batch) == 1 and batch[0].kind == FILE and batch[0].size > SMALL_BYTES_MAX:
                        self._large(pool, batch[0])
                    else:
                        work = pool.submit(self._batch, batch, self._buffer())
                        self._submit(work, self._finish_batch)
                while self._waiting:
                    self._take()
            except BaseException as error:
                pool.shutdown(wait=True, cancel_futures=True)
                if isinstance(error, _GivenUpError):
                    raise error.reason from None
                raise
        return self._done

    def _submit(self, future: Future[_Result], finish: Callable[[_Result], None]) -> None:
        self._waiting.append((future, finish))
        while self._waiting and self._waiting[0][0].done():
            self._take()

    def _take(self) -> None:
        """Take the next result in order, once it is there."""
        future, finish = self._waiting.popleft()
        try:
            result = future.result()
        except SourceChangedError as error:
            # It names a file of its own, which was read as often as it may be. Who reads a large file
            # meanwhile would take it for one about that, and go on without all that stood in the result.
            raise _GivenUpError(error) from None
        for frame in result.frames:
            self._sink.take(frame)
        if result.buffer is not None:
            self._buffers.give_back(result.buffer, in_frames=result.is_in_frames)
        self._done.new_bytes += result.new_bytes
        finish(result)

    def _buffer(self) -> bytearray:
        """A free buffer. Takes results until there is one: what is under way is bounded by this."""
        while (buffer := self._buffers.take(wait=not self._waiting)) is None:
            self._take()
        return buffer

    # Small files

    def _batch(self, batch: list[SourceFile], buffer: bytearray) -> _Result:
        """In a worker: read, hash, look up and compress a run of small files."""
        files: list[SourceFile] = []
        entries: list[Entry] = []
        pieces: list[Piece] = []
        view, end = memoryview(buffer), 0
        flags, whole = self._source.read_batch(batch, view)
        single_bytes_max = self._parameters.min_bytes
        for number, file in enumerate(batch):
            path, kind, executable, size = file[:4]
            if kind == EMPTY_FOLDER:
                files.append(file)
                entries.append(Entry(path, kind, executable, size, EMPTY_DIGEST))
                continue
            flag = flags[number]
            if flag:
                start, end = end, end + size
                digest = whole[DIGEST_BYTES * number : DIGEST_BYTES * (number + 1)]
                if 0 < size <= single_bytes_max:
                    # Most files by far: one chunk, with nothing to look at.
                    pieces.append(Piece(digest, view, start, end, flag & NOISY != 0))
                    files.append(file)
                    entries.append(Entry(path, kind, executable, size, digest))
                    continue
                piece = Piece(digest, view, start, end, flag & NOISY != 0)
            else:
                data, file = self._source.read_small(file)
                piece = Piece(blake3_digest(data), memoryview(data), 0, len(data), looks_incompressible(data))
            files.append(file)
            entries.append(self._entry_of(file, piece.digest, self._pieces(file, piece, pieces)))
        if self._erased:
            refuse_files(self._erased, entries)
            refuse_chunks(self._erased, [piece.digest for piece in pieces], [file.path for file in files])
        frames, new_bytes = self._frames(pieces)
        return _Result(0, files, entries, [], frames, new_bytes, buffer)

    def _pieces(self, file: SourceFile, whole: Piece, pieces: list[Piece]) -> list[ListRow]:
        """Cut a small file into chunks."""
        digest, data, start, stop, _ = whole
        size = stop - start
        if size <= self._parameters.min_bytes or file.kind != FILE:
            # Also a long symlink in a repository of small chunks: its target is one chunk.
            if size:
                pieces.append(whole)
            return [ListRow(digest, size)] if size else []
        view = data[start:stop]
        if view[:4] == _PARQUET_MAGIC:
            forced = forced_cuts(io.BytesIO(view), size, self._parameters)
            ends = Cutter(self._parameters, forced).cut(view, final=True)
        else:
            ends = cuts(view, self._parameters, final=True)
        if len(ends) == 1:
            pieces.append(whole)
            return [ListRow(digest, size)]
        cut = _chunks(data, [start + end for end in ends], noisy=whole.noisy, start=start)
        pieces += cut
        return [ListRow(piece.digest, piece.end - piece.start) for piece in cut]

    def _frames(self, pieces: list[Piece]) -> tuple[list[NewFrame], int]:
        """The frames of the pieces nobody has, and their plain bytes.

        What compresses and what does not go to frames of their own: neighbouring files may be labels
        and images.
        """
        framers = (Framer(), Framer())
        claims = self._known.claim([piece.digest for piece in pieces])
        for piece, mine in zip(pieces, claims, strict=True):
            if mine:
                framers[piece.noisy].add(piece)
        for framer in framers:
            framer.flush()
        return framers[0].frames + framers[1].frames, sum(framer.new_bytes for framer in framers)

    def _finish_batch(self, result: _Result) -> None:
        self._done.files += result.files
        self._done.entries += result.entries
        self._progress.advance(len(result.files), sum(file.size for file in result.files))

    def _entry_of(self, file: SourceFile, digest: bytes, rows: list[ListRow]) -> Entry:
        """The entry of a file, its list of chunks kept where it has several."""
        entry = _entry(file, digest)
        if len(rows) < 2:
            return entry
        return entry._replace(extras=chunks_extra(chunk_list.build(rows, self._done.list_nodes.__setitem__)))

    # Large files

    def _large(self, pool: ThreadPoolExecutor, file: SourceFile) -> None:
        """Read a file window by window; again from the start if it changed meanwhile."""
        for _ in pauses():
            rows: list[ListRow] = []
            with suppress(SourceChangedError):
                found, digest, size = self._stream(pool, file, rows)
                if size == found.size:
                    self._finish_later(found, digest, rows)
                    return
        raise changed(file)

    def _finish_later(self, file: SourceFile, digest: bytes, rows: list[ListRow]) -> None:
        """Its turn comes when all its windows are done: they stand before it in the queue."""

        def finish(_: _Result) -> None:
            self._done.files.append(file)
            self._done.entries.append(self._entry_of(file, digest, rows))
            self._progress.advance(1)

        self._submit(_finished(), finish)

    def _stream(
        self, pool: ThreadPoolExecutor, file: SourceFile, rows: list[ListRow]
    ) -> tuple[SourceFile, bytes, int]:
        from concurrent.futures import ThreadPoolExecutor

        hasher, size = FileHasher(), 0

        def finish(result: _Result, buffer: bytearray, hashed: Future[None]) -> None:
            rows.extend(result.rows)
            self._progress.advance(0, result.weight)
            hashed.result()
            self._buffers.give_back(buffer, in_frames=result.is_in_frames)

        # One thread hashes the file in order, while this one reads on and finds the cuts.
        with (
            self._source.open_stable(file) as reader,
            ThreadPoolExecutor(1, thread_name_prefix="dataver-hash") as hashing,
        ):
            cutter = Cutter(self._parameters, _forced(reader, self._parameters))
            buffer, start, final = self._buffer(), 0, False
            while not final:
                window = memoryview(buffer)[: self._window_bytes]
                try:
                    filled, final = _fill(reader, window, start)
                except BaseException:
                    self._buffers.give_back(buffer, in_frames=False)
                    raise
                window = window[:filled]
                size += filled - start
                hashed = hashing.submit(hasher.update, window[start:])
                ends = cutter.cut(window, final=final)
                end = ends[-1] if ends else 0
                # Before the window is handed over: it can be in use for something else any moment then.
                following, start = self._buffer(), filled - end
                memoryview(following)[:start] = window[end:]
                done = partial(finish, buffer=buffer, hashed=hashed)
                self._submit(pool.submit(self._window, file, window, ends), done)
                buffer = following
            self._buffers.give_back(buffer, in_frames=False)
            hashing.shutdown(wait=True)
            reader.check()
            return reader.file, hasher.digest(), size

    def _window(self, file: SourceFile, window: memoryview, ends: list[int]) -> _Result:
        """In a worker: hash, look up and compress the chunks of a window."""
        pieces = _chunks(window, ends, noisy=False)
        rows = [ListRow(piece.digest, piece.end - piece.start) for piece in pieces]
        if self._erased:
            refuse_chunks(self._erased, [row.digest for row in rows], [file.path])
        frames, new_bytes = self._frames(pieces)
        return _Result(ends[-1] if ends else 0, [], [], rows, frames, new_bytes, None)


def _chunks(data: memoryview, ends: Sequence[int], *, noisy: bool, start: int = 0) -> list[Piece]:
    """The chunks that end there; the first begins at `start`."""
    starts = [start, *ends[:-1]] if ends else []
    found = digests([data[begin:end] for begin, end in zip(starts, ends, strict=True)])
    return [
        Piece(found[DIGEST_BYTES * number : DIGEST_BYTES * (number + 1)], data, begin, end, noisy)
        for number, (begin, end) in enumerate(zip(starts, ends, strict=True))
    ]


def _finished() -> Future[_Result]:
    from concurrent.futures import Future

    future: Future[_Result] = Future()
    future.set_result(_Result(0, [], [], [], [], 0, None))
    return future


def _forced(reader: SourceReader, parameters: ChunkerParameters) -> list[int]:
    size = reader.seek(0, io.SEEK_END)
    reader.seek(0)
    return forced_cuts(cast(BinaryIO, reader), size, parameters)


def _fill(reader: SourceReader, window: memoryview, start: int) -> tuple[int, bool]:
    """Read until the window is full or the file ends: (bytes in it, whether it ended)."""
    filled = start
    while filled < len(window):
        count = reader.readinto(window[filled:])
        if not count:
            return filled, True
        filled += count
    return filled, False


def _entry(file: SourceFile, digest: bytes) -> Entry:
    return Entry(file.path, file.kind, file.executable, file.size, digest)


def _batches(files: Sequence[SourceFile]) -> Iterator[list[SourceFile]]:
    """Runs of neighbouring small files; a large file alone."""
    batch: list[SourceFile] = []
    size = 0
    for file in files:
        if file.kind == FILE and file.size > SMALL_BYTES_MAX:
            if batch:
                yield batch
                batch, size = [], 0
            yield [file]
            continue
        batch.append(file)
        size += file.size
        if size >= BATCH_BYTES or len(batch) >= BATCH_FILES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
