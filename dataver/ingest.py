"""The way in: files to cuts, digests, frames and packs.

Files are taken in pieces: batches of small ones, windows of large ones. Each worker thread takes the next
piece into its one buffer and does with it all there is to do, while it is in the cache of its core: it reads
and cuts, hashes, looks up what is known, compresses the rest, and hands it to the pack. One thread at a time
reads a large file, and one fills the pack, in the order of the files. What is under way is bounded by the
buffers, whatever the sizes of files.
"""

from __future__ import annotations

import io
import mmap
import threading
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain, groupby
from queue import LifoQueue
from typing import TYPE_CHECKING

from dataver.chunk_index import ChunkIndex
from dataver.chunking import ChunkerParameters
from dataver.chunking.fastcdc import cuts
from dataver.chunking.parquet import forced_cuts
from dataver.chunking.stream import Cutter
from dataver.claims import Claims
from dataver.compression import Codec, looks_incompressible
from dataver.digest import digests_at, split_digests
from dataver.edits import Extras, Ingested
from dataver.erased import Erasures
from dataver.errors import SourceChangedError
from dataver.framing import RAW_FRAME_BYTES_MAX, Chunks, Framer, FrameSink, chunks_at
from dataver.hashing import EMPTY_DIGEST, FileHasher, blake3_digest, digests
from dataver.packs import NewFrame
from dataver.progress import Progress, Silent
from dataver.refusals import refuse_chunks, refuse_files
from dataver.source import EMPTY_FOLDER, FILE, NOISY, Source, SourceFile, pauses
from dataver.source.columns import Picked, stamp_of, to_file
from dataver.source.faults import changed
from dataver.tree import chunk_list
from dataver.tree.manifest import Entry, chunks_extra
from dataver.values import NamedTuple

if TYPE_CHECKING:
    from dataver.windows import Attempt, Window, WindowReader

SMALL_BYTES_MAX = 1 << 20
BATCH_BYTES = 4 << 20
BATCH_FILES = 256
WINDOW_BYTES = 4 << 20
PIECES_WAITING_MAX = 2
"""So many may wait for their turn while the workers are at one each, as some take longer than others."""

_PARQUET_MAGIC = b"PAR1"


def ingest(
    source: Source,
    files: Picked,
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
) -> list[tuple[SourceFile, bytes]]:
    """Read `files` for their digests alone: each, with the stamps of what was read, and its digest."""
    from concurrent.futures import ThreadPoolExecutor

    watcher = progress or Silent()
    done = []
    ended = threading.Event()
    with ThreadPoolExecutor(jobs, thread_name_prefix="dataver-read") as pool:
        try:
            for file, digest in pool.map(lambda file: _digest_file(source, file, ended), files):
                done.append((file, digest))
                watcher.advance(1, file.size)
        except BaseException:
            ended.set()  # Before it waits for the workers.
            pool.shutdown(cancel_futures=True)
            raise
    return done


def _digest_file(source: Source, file: SourceFile, ended: threading.Event) -> tuple[SourceFile, bytes]:
    """A file and its digest; `CancelledError` between two blocks once the work has `ended`."""
    from concurrent.futures import CancelledError

    if file.kind == EMPTY_FOLDER:
        return file, EMPTY_DIGEST
    if file.kind != FILE or file.size <= SMALL_BYTES_MAX:
        data, file = source.read_small(file)
        return file, blake3_digest(data)
    for _ in pauses():
        hasher, size = FileHasher(), 0
        with suppress(SourceChangedError), source.open_stable(file) as reader:
            while block := reader.read(WINDOW_BYTES):
                if ended.is_set():
                    raise CancelledError
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
        self._claims = Claims()
        self._lock = threading.Lock()

    def claim(self, digests: bytes) -> list[bool]:
        """For each of digests side by side whether the caller is the one who stores it."""
        with self._lock:
            mine = self._claims.claim(digests)
        if self._index is None or not any(mine):
            return mine
        places = self._index.find_many(digests)
        return [own and place is None for own, place in zip(mine, places, strict=True)]


class _Result(NamedTuple):
    """What was made of a run of small files, or of a window of a large one.

    Of a run `stamps` are those of the bytes read, `digests` theirs, and `extras` go by position. A window has
    its chunks.
    """

    stamps: bytes
    digests: bytes
    extras: dict[int, Extras]
    chunks: Chunks | None
    frames: list[NewFrame]
    new_bytes: int


class _Run(NamedTuple):
    """Neighbouring small files, or a large one, with their stamps."""

    files: list[SourceFile]
    stamps: list[bytes]
    size_bytes: int


class _Piece(NamedTuple):
    """A run of small files, or a window of a file, and the buffer for what is read."""

    number: int
    work: _Run | Window
    buffer: memoryview


class _Ingest:
    """One run: workers that each take the next piece, and what came of it."""

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
        self._window_bytes = max(WINDOW_BYTES, 2 * parameters.max_bytes)
        self._buffers: LifoQueue[memoryview | None] = LifoQueue()
        self._taking = threading.Lock()
        self._runs: Iterator[_Run] = iter(())
        self._file: WindowReader | None = None
        self._taken = 0
        self._finishing = threading.Lock()
        self._finished: dict[int, tuple[_Piece, _Result]] = {}
        self._handed_on = 0
        self._is_handing = False
        self._fault: tuple[int, BaseException] | None = None

    def run(self, files: Picked) -> Ingested:
        if not files:
            return self._done
        self._runs = _runs(files)
        count = min(self._jobs, _pieces(files))
        size_bytes = max(self._window_bytes, BATCH_BYTES + SMALL_BYTES_MAX)
        for _ in range(count + PIECES_WAITING_MAX):
            # Memory that is touched only as far as it is used.
            self._buffers.put(memoryview(mmap.mmap(-1, size_bytes)))
        try:
            if count == 1:
                self._work()  # Threads take longer to be imported than most commits of a piece take.
            else:
                self._work_together(count)
        except BaseException as error:  # noqa: BLE001 - Ctrl-C; raised below, as what workers met
            self._fail(-1, error)
        if self._file is not None:
            self._file.close()
        if self._fault is not None:
            raise self._fault[1]
        assert len(self._done) == len(files), f"{len(self._done)} files were taken in of {len(files)}"
        return self._done

    def _work_together(self, count: int) -> None:
        # No pool: its module takes as long to be imported as the first window takes to be read.
        workers = [threading.Thread(target=self._work, name=f"dataver-ingest_{n}") for n in range(count)]
        begun = []
        try:
            for worker in workers:
                worker.start()
                begun.append(worker)
            for worker in begun:
                worker.join()
        except BaseException as error:
            self._fail(-1, error)  # Before it waits for the workers.
            for worker in begun:
                worker.join()
            raise

    def _fail(self, number: int, error: BaseException) -> None:
        """End the work. Of several errors that of the first piece is raised."""
        with self._finishing:
            if self._fault is None or number < self._fault[0]:
                self._fault = number, error
        for _ in range(self._jobs):
            self._buffers.put(None)

    def _work(self) -> None:
        """In each worker: take pieces, one after the other, until there are no more.

        What a piece needs is done by one thread, with one buffer, while its bytes are in the cache of a core.
        """
        while (piece := self._take()) is not None:
            try:
                if isinstance(piece.work, _Run):
                    result = self._batch(piece.work, piece.buffer)
                else:
                    result = self._window(piece.work)
                self._finish(piece, result)
            except BaseException as error:  # noqa: BLE001 - raised by `run`
                self._fail(piece.number, error)
            finally:
                if not isinstance(piece.work, _Run):
                    piece.work.hashed.set()  # Whoever waits for it goes on, whatever became of it.

    def _take(self) -> _Piece | None:
        """The next piece in the order of the files; a window is read and cut."""
        buffer = self._buffers.get()
        if buffer is None:
            return None
        with self._taking:
            try:
                work = None if self._fault is not None else self._next(buffer)
            except BaseException as error:  # noqa: BLE001 - raised by `run`
                self._fail(self._taken, error)
                return None
            if work is None:
                self._buffers.put(buffer)
                return None
            self._taken += 1
            return _Piece(self._taken - 1, work, buffer)

    def _next(self, buffer: memoryview) -> _Run | Window | None:
        if self._file is None:
            run = next(self._runs, None)
            if run is None or not _is_large(run.files[0]):
                return run
            from dataver.windows import WindowReader  # Not before: most commits read small files alone.

            self._file = WindowReader(self._source, run.files[0], self._parameters)
        window = self._file.read(buffer[: self._window_bytes])
        if window.file is not None:
            self._file.close()
            self._file = None
        return window

    def _finish(self, piece: _Piece, result: _Result) -> None:
        """Hand on what is next in the order of the files, unless another thread is at it: then it goes on."""
        with self._finishing:
            self._finished[piece.number] = piece, result
            if self._is_handing:
                return
            self._is_handing = True
        while True:
            with self._finishing:
                following = self._finished.pop(self._handed_on, None)
                if following is None or self._fault is not None:
                    self._is_handing = False
                    return
                self._handed_on += 1
            try:
                self._hand_on(following[0].work, following[1])
            except BaseException as error:  # noqa: BLE001 - raised by `run`
                self._fail(following[0].number, error)
                return
            self._buffers.put(following[0].buffer)

    def _hand_on(self, work: _Run | Window, result: _Result) -> None:
        for frame in result.frames:
            self._sink.take(frame)
        if any(frame.codec == Codec.RAW for frame in result.frames):
            self._sink.settle()  # They are parts of the buffer.
        self._done.new_bytes += result.new_bytes
        if isinstance(work, _Run):
            shift = len(self._done)
            self._done.extras.update((shift + at, extras) for at, extras in result.extras.items())
            self._done.stamps += result.stamps
            self._done.digests += result.digests
            self._progress.advance(len(work.files), work.size_bytes)
            return
        assert result.chunks is not None
        work.attempt.rows.extend(result.chunks)
        self._progress.advance(0, work.ends[-1] if work.ends else 0)
        if work.file is not None:
            self._finish_file(work.file, work.attempt)

    def _finish_file(self, file: SourceFile, attempt: Attempt) -> None:
        rows = attempt.rows
        extras = self._extras(bytes(rows.digests), rows.lengths)
        self._done.take(stamp_of(file), attempt.digest(), extras)
        self._progress.advance(1)

    # Small files

    def _batch(self, run: _Run, view: memoryview) -> _Result:
        """Read, hash, look up and compress a run of small files."""
        files, stamps, _ = run
        extras: dict[int, Extras] = {}
        every: list[Chunks] = []
        marks: list[bytes] = []  # of each of these: the flags of its chunks
        flags, digests = self._source.read_batch(files, view)
        single_bytes_max = self._parameters.min_bytes
        first, start, end, ends = 0, 0, 0, array("I")
        for number, file in enumerate([*files, None]):
            size = 0 if file is None else file[3]
            if 0 < size <= single_bytes_max and flags[number]:
                end += size
                ends.append(end)  # Most files by far: one chunk, beside that of the file before.
                continue
            if ends:
                every.append(chunks_at(view, start, ends, digests_at(digests, first, number)))
                marks.append(flags[first:number])
            if file is None:
                break
            flag, digest = flags[number], digests_at(digests, number, number + 1)
            if flag:
                data, begin, end = view, end, end + size
            elif file.kind == EMPTY_FOLDER:
                data, begin, size = view, end, 0
                digests = _replaced(digests, number, EMPTY_DIGEST)
            else:
                whole, file = self._source.read_small(file)
                data, begin, size = memoryview(whole), 0, len(whole)
                flag, digest = NOISY * looks_incompressible(whole), blake3_digest(whole)
                digests = _replaced(digests, number, digest)
                files[number], stamps[number] = file, stamp_of(file)
            if size:
                chunks = self._chunks(file, data, begin, begin + size, digest)
                every.append(chunks)
                marks.append(bytes([flag]) * len(chunks.ends))
                if more := self._extras(chunks.digests, chunks.lengths):
                    extras[number] = more
            first, start, ends = number + 1, end, array("I")
        if self._erased:
            refuse_files(self._erased, map(_entry, files, split_digests(digests)))
            for chunks in every:
                refuse_chunks(self._erased, split_digests(chunks.digests), [file.path for file in files])
        # What compresses and what does not: neighbouring files may be labels and images.
        frames, new_bytes = self._frames(every, marks, Framer(), Framer())
        return _Result(b"".join(stamps), digests, extras, None, frames, new_bytes)

    def _chunks(self, file: SourceFile, data: memoryview, start: int, stop: int, digest: bytes) -> Chunks:
        """The chunks of a small file, which lies there and has this digest."""
        size = stop - start
        ends: Sequence[int] = [size]
        # A long symlink in a repository of small chunks is not cut: its target is one chunk.
        if size > self._parameters.min_bytes and file.kind == FILE:
            view = data[start:stop]
            if view[:4] == _PARQUET_MAGIC:
                forced = forced_cuts(io.BytesIO(view), size, self._parameters)
                ends = Cutter(self._parameters, forced).cut(view, final=True)
            else:
                ends = cuts(view, self._parameters, final=True)
        if len(ends) == 1:
            return Chunks(data, start, [stop], [size], digest)
        return _hashed(data, start, [start + end for end in ends])

    def _frames(
        self, every: Sequence[Chunks], marks: Sequence[bytes], *framers: Framer
    ) -> tuple[list[NewFrame], int]:
        """The frames of the chunks nobody has, and their plain bytes. The last framer gets the noisy ones."""
        claims = self._known.claim(b"".join([chunks.digests for chunks in every]))
        done = 0
        for chunks, flags in zip(every, marks, strict=True):
            mine = claims[done : done + len(flags)]
            done += len(flags)
            first = 0
            for (is_mine, noisy), some in groupby(zip(mine, map(NOISY.__and__, flags), strict=True)):
                stop = first + len(list(some))
                if is_mine:
                    framers[-1 if noisy else 0].add(chunks, first, stop)
                first = stop
        for framer in framers:
            framer.close()
        frames = [frame for framer in framers for frame in framer.frames]
        return frames, sum(framer.new_bytes for framer in framers)

    def _extras(self, digests: bytes, lengths: Sequence[int]) -> Extras:
        """The further columns of a file with these chunks; their list is kept where they are several."""
        if len(lengths) < 2:
            return ()
        return chunks_extra(chunk_list.build(digests, lengths, self._done.list_nodes.__setitem__))

    # Large files

    def _window(self, window: Window) -> _Result:
        """Hash, look up and compress the chunks of a window."""
        window.attempt.update(window)
        chunks = _hashed(window.data, 0, window.ends)
        if self._erased:
            refuse_chunks(self._erased, split_digests(chunks.digests), [window.path])
        frames, new_bytes = self._frames([chunks], [bytes(len(chunks.ends))], Framer(RAW_FRAME_BYTES_MAX))
        return _Result(b"", b"", {}, chunks, frames, new_bytes)


def _hashed(data: memoryview, start: int, ends: Sequence[int]) -> Chunks:
    """The chunks that end there; the first begins at `start`."""
    starts = chain((start,), ends)
    found = digests([data[begin:end] for begin, end in zip(starts, ends, strict=False)])
    return chunks_at(data, start, ends, found)


def _entry(file: SourceFile, digest: bytes) -> Entry:
    return Entry(*file[:4], digest)


def _replaced(digests: bytes, number: int, digest: bytes) -> bytes:
    """Digests side by side with another one in the place of one."""
    return digests_at(digests, 0, number) + digest + digests[(number + 1) * len(digest) :]


def _is_large(file: SourceFile) -> bool:
    return file.kind == FILE and file.size > SMALL_BYTES_MAX


def _runs(files: Picked) -> Iterator[_Run]:
    """Runs of neighbouring small files; a large file alone."""
    run: list[SourceFile] = []
    stamps: list[bytes] = []
    size = 0
    for path, stamp in zip(files.each_path(), files.each_stamp(), strict=True):
        file = to_file(path, stamp)
        if _is_large(file):
            if run:
                yield _Run(run, stamps, size)
                run, stamps, size = [], [], 0
            yield _Run([file], [stamp], file.size)
            continue
        run.append(file)
        stamps.append(stamp)
        size += file[3]
        if size >= BATCH_BYTES or len(run) >= BATCH_FILES:
            yield _Run(run, stamps, size)
            run, stamps, size = [], [], 0
    if run:
        yield _Run(run, stamps, size)


def _pieces(files: Picked) -> int:
    """How many pieces of work these are, by and large; at least one."""
    return 1 + files.size_bytes // max(BATCH_BYTES, WINDOW_BYTES) + len(files) // BATCH_FILES
