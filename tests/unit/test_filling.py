"""Files of many chunks on their way out: copied or decoded, and never in place with a wrong byte."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataver import filling
from dataver.chunking import ChunkerParameters
from dataver.compression import Codec
from dataver.errors import DamagedError
from dataver.filling import fill
from dataver.format.segment import Place
from dataver.keys import pack_key
from dataver.objects import Objects
from dataver.progress import Silent
from dataver.reading import file_rows
from dataver.repository import Repository, init
from dataver.store.local import LocalStore
from dataver.store.posix import read_into
from dataver.targets import write_at
from tests.damage import change, flip

CHUNKS = ChunkerParameters(min_bytes=1024, average_bytes=4096, max_bytes=16384)
NOISE = random.Random(1).randbytes(1_500_000)
TEXT = b"".join(b"%d,%d\n" % (n, n * n) for n in range(120_000))
MIXED = NOISE[:400_000] + TEXT[:900_000] + NOISE[:30_000] + TEXT[900_000:] + NOISE[400_000:]
FILES = {"noise": NOISE, "text": TEXT, "mixed": MIXED}
HELPERS = pytest.mark.parametrize("helpers", [0, 2])


def made(url: str, work: Path) -> Repository:
    work.mkdir()
    for name, data in FILES.items():
        (work / name).write_bytes(data)
    repository = Repository(url)
    repository.session.create(CHUNKS)
    repository.commit("iris", work)
    return Repository(url)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return made(str(tmp_path / "repository"), tmp_path / "work")


def filled(repository: Repository, name: str, helpers: int, path: Path) -> list[int]:
    """Fill a file; what `advance` was told."""
    told: list[int] = []
    entry = repository.version("iris").entry(name)
    assert entry.chunks is not None
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    try:
        fill(entry, repository.session.objects(), fd, helpers=helpers, advance=told.append)
    finally:
        os.close(fd)
    return told


def first_place(repository: Repository, name: str) -> tuple[bytes, Place]:
    """The first chunk of a file."""
    objects = repository.session.objects()
    _, row = next(file_rows(repository.version("iris").entry(name), objects))
    return row.digest, objects.places(row.digest)[0]


@HELPERS
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("url", ["", "memory://filling"])
def test_a_file_of_many_chunks(tmp_path: Path, url: str, name: str, helpers: int) -> None:
    url = url and f"{url}-{name}-{helpers}"
    repository = made(url or str(tmp_path / "repository"), tmp_path / "work")
    told = filled(repository, name, helpers, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == FILES[name]
    assert sum(told) == len(FILES[name])
    assert len(told) > 1


def test_raw_chunks_go_through_one_buffer(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    real = Objects.read

    def watched(objects: Objects, digests: bytes, places: Sequence[Place]) -> list[bytes | memoryview]:
        read.append(sum(place.length for place in places))
        return real(objects, digests, places)

    monkeypatch.setattr(filling, "COPY_BYTES_MIN", 16 << 10)
    monkeypatch.setattr(Objects, "read", watched)
    filled(repository, "noise", 0, tmp_path / "noise")
    assert sum(read) < 150_000, "of the frame that it shares with text, and no more, it has to be decoded"
    read.clear()
    filled(repository, "mixed", 0, tmp_path / "mixed")
    assert len(TEXT) <= sum(read) < len(TEXT) + 300_000


@HELPERS
@pytest.mark.parametrize("fails", ["is short", "cannot be opened"])
def test_what_cannot_be_had_in_the_buffer_is_read_otherwise(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str, helpers: int
) -> None:
    monkeypatch.setattr(filling, "RUN_BYTES_MAX", 100_000)
    real, calls = LocalStore.read_into, 0

    def read_into(store: LocalStore, key: str, ranges: Sequence[tuple[int, int]], buffer: memoryview) -> bool:
        nonlocal calls
        calls += 1
        if calls % 3:
            return real(store, key, ranges, buffer)
        buffer[:] = bytes(len(buffer))
        if fails == "is short":
            return real(store, key, [*ranges[:-1], (len(MIXED) * 9, ranges[-1][1])], buffer)
        return real(store, key + "0", ranges, buffer)

    monkeypatch.setattr(LocalStore, "read_into", read_into)
    told = filled(repository, "mixed", helpers, tmp_path / "out")
    assert calls >= 5
    assert (tmp_path / "out").read_bytes() == MIXED
    assert sum(told) == len(MIXED)


def test_short_reads_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "source").write_bytes(NOISE)
    real: Callable[[int, list[memoryview], int], int] = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, views, at: real(fd, [views[0][:70_001]], at))
    buffer = memoryview(bytearray(1_000_000))
    with open(tmp_path / "source", "rb") as source:
        assert read_into(source.fileno(), 5, buffer)
        assert buffer == NOISE[5:1_000_005]
        assert not read_into(source.fileno(), 1_400_000, buffer)


@HELPERS
@pytest.mark.parametrize("name", ["noise", "text"])
def test_a_damaged_chunk_is_named(repository: Repository, tmp_path: Path, name: str, helpers: int) -> None:
    digest, place = first_place(repository, name)
    flip(repository.session.store, pack_key(place.pack), place.frame_offset + place.offset + 40)
    frame = f"frame at {place.frame_offset} of "
    named = digest.hex() if place.codec == Codec.RAW else f"({frame}|object [0-9a-f]{{64}} is damaged)"
    with pytest.raises(DamagedError, match=named):
        filled(repository, name, helpers, tmp_path / "out")
    with pytest.raises(DamagedError, match=named):
        repository.checkout("iris", tmp_path / "target", include=[name])
    assert not list((tmp_path / "target").iterdir())


@HELPERS
@pytest.mark.parametrize("kept", [0, 700_000, None])
def test_a_pack_that_is_cut_short_or_gone(
    repository: Repository, tmp_path: Path, kept: int | None, helpers: int
) -> None:
    store = repository.session.store
    key = pack_key(first_place(repository, "noise")[1].pack)
    change(store, key, None if kept is None else store.get(key)[:kept])
    with pytest.raises(DamagedError, match=key):
        filled(repository, "noise", helpers, tmp_path / "out")


def test_what_stands_in_the_file_is_what_is_proven(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lying(fd: int, buffers: Sequence[memoryview], start: int) -> None:
        write_at(fd, buffers, start)
        end = start + sum(map(len, buffers))
        assert os.pwrite(fd, b"?" if NOISE[end - 1] != 63 else b"!", end - 1) == 1

    monkeypatch.setattr(filling, "write_at", lying)
    with pytest.raises(DamagedError, match="noise as written does not match its digest"):
        repository.checkout("iris", tmp_path / "target", include=["noise"])
    assert not list((tmp_path / "target").iterdir())


@pytest.mark.parametrize("name", ["noise", "text"])
def test_a_full_disk_ends_with_its_code_and_leaves_nothing(
    repository: Repository, tmp_path: Path, name: str
) -> None:
    script = (
        "import resource, sys\n"
        "from dataver.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
        "sys.argv = ['dataver', *sys.argv[1:]]\n"
        "main()\n"
    )
    target = tmp_path / "target"
    arguments = ["checkout", "iris", str(target), "--include", name]
    environment = {**os.environ, "DATAVER_REPO": repository.url, "DATAVER_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 7, done.stderr
    assert "File too large" in done.stderr
    assert not list(target.iterdir())


def test_an_interrupt_ends_a_large_file_midway(repository: Repository, tmp_path: Path) -> None:
    seen = threading.Event()

    def interrupted(*_: object) -> None:
        seen.set()
        raise KeyboardInterrupt

    class Interrupting(Silent):
        """Presses Ctrl-C at the first bytes of a file, and waits until the main thread saw it."""

        told = 0

        def advance(self, files: int = 0, size_bytes: int = 0) -> None:
            if not files and size_bytes > 0:
                self.told += size_bytes
                if self.told == size_bytes:
                    os.kill(os.getpid(), signal.SIGINT)
                    assert seen.wait(60)
                    time.sleep(0.3)  # from there to the end of the work is a matter of a few lines

    progress = Interrupting()
    before = signal.signal(signal.SIGINT, interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            repository.checkout("iris", tmp_path / "target", include=["mixed"], progress=progress)
    finally:
        signal.signal(signal.SIGINT, before)
    assert 0 < progress.told < len(MIXED)
    assert not list((tmp_path / "target").iterdir())


@HELPERS
def test_no_helper_writes_after_the_end(repository: Repository, tmp_path: Path, helpers: int) -> None:
    class EnoughError(Exception):
        """Raised by who watches."""

    def enough(_: int) -> None:
        raise EnoughError

    entry = repository.version("iris").entry("mixed")
    with open(tmp_path / "out", "w+b") as file:
        with pytest.raises(EnoughError):
            fill(entry, repository.session.objects(), file.fileno(), helpers=helpers, advance=enough)
        os.ftruncate(file.fileno(), 0)
        time.sleep(0.1)
        assert os.fstat(file.fileno()).st_size == 0


def place(pack: int, frame: int, length: int, codec: Codec) -> Place:
    return Place(bytes([pack]) * 32, frame, length, length, codec, 0, length)


PLACES = st.lists(
    st.builds(
        place, st.integers(1, 2), st.integers(0, 3), st.integers(1, 300_000), st.sampled_from(list(Codec))
    ),
    max_size=60,
)


@given(PLACES)
def test_runs_cover_all_places_in_order(places: list[Place]) -> None:
    runs = list(filling._runs(places))
    assert [number for run in runs for number in range(run.first, run.end)] == list(range(len(places)))
    for run in runs:
        found = places[run.first : run.end]
        size = sum(place.length for place in found)
        if run.copied:
            assert len({place.pack for place in found}) == 1
            assert {place.codec for place in found} == {Codec.RAW}
            assert size >= filling.COPY_BYTES_MIN
    for before, after in pairwise(runs):
        if not before.copied and not after.copied:
            assert places[before.end - 1].frame_offset != places[after.first].frame_offset


@given(st.lists(st.binary(max_size=60), max_size=50), st.integers(0, 9), st.integers(1, 70))
def test_short_writes_at_a_place_lose_nothing(parts: list[bytes], start: int, step: int) -> None:
    real: Callable[[int, list[bytes], int], int] = os.pwritev

    def pwritev(fd: int, views: list[memoryview], at: int) -> int:
        return real(fd, [b"".join(views)[:step]], at)

    fd = os.memfd_create("test")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "pwritev", pwritev)
            write_at(fd, [part for part in parts if part], start)
        assert os.pread(fd, 10_000, start) == b"".join(parts)
        assert os.lseek(fd, 0, os.SEEK_CUR) == 0
    finally:
        os.close(fd)


@given(
    st.lists(st.tuples(st.integers(0, 99), st.integers(1, 400)), max_size=30),
    st.integers(0, 500),
    st.integers(1, 300),
)
def test_portions_are_all_of_the_ranges_and_end_at_multiples(
    ranges: list[tuple[int, int]], start: int, multiple: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(filling, "RUN_BYTES_MAX", multiple)
        portions = list(filling._portions(ranges, start))
    taken = [at for portion in portions for begin, length in portion for at in range(begin, begin + length)]
    assert taken == [at for begin, length in ranges for at in range(begin, begin + length)]
    ends = list(accumulate([sum(length for _, length in portion) for portion in portions], initial=start))
    assert all(end % multiple == 0 for end in ends[1:-1])
    assert all(0 < end - begin <= multiple for begin, end in pairwise(ends))


@pytest.mark.parametrize("is_compiled", [True, False])
def test_the_local_store_reads_into_a_buffer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_compiled: bool
) -> None:
    if not is_compiled:
        monkeypatch.setattr("dataver.native.native", None)
    store = LocalStore(tmp_path / "store")
    store.put_new("packs/a", NOISE)
    ranges = [(10, 200_000), (0, 5), (len(NOISE) - 7, 7)]
    buffer = memoryview(bytearray(200_012))
    assert store.read_into("packs/a", ranges, buffer)
    assert buffer == b"".join(bytes(part) for part in store.get_ranges("packs/a", ranges))
    assert not store.read_into("packs/a", [(len(NOISE) - 2, 3)], buffer[:3])
    assert not store.read_into("packs/a", [(0, 3)], buffer[:4])
    assert not store.read_into("packs/a", [(0, 5)], buffer[:4])
    assert store.read_into("packs/a", [], buffer[:0])
    assert not store.read_into("packs/none", [(0, 1)], buffer[:1])
    os.mkfifo(tmp_path / "store/packs/pipe")
    assert not store.read_into("packs/pipe", [(0, 1)], buffer[:1])
    (tmp_path / "store/packs/folder").mkdir()
    assert not store.read_into("packs/folder", [(0, 1)], buffer[:1])


def test_a_store_that_cannot_read_into_a_buffer_says_so() -> None:
    store = init("memory://filling-none").session.store
    objects = Objects(store, Repository("memory://filling-none").session.index())
    assert not objects.read_into(bytes(32), [(0, 9)], memoryview(bytearray(9)))
