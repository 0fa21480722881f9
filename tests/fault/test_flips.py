"""Whatever happens to an object, `verify --deep` names it, and no read gives a wrong byte.

The whole of promise P5, and the reading half of P1: flipped bytes, objects that are cut, grown or
gone, and valid objects in each other's place, for every kind of object. A read that fails is one
that the report says is harmed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from blake3 import blake3

from dataver.errors import DataverError
from dataver.format.pack import PACK_MAGIC, PackKind
from dataver.keys import HINT_KEY, LOG_PREFIX, PACK_PREFIX, SEGMENT_PREFIX, entry_key
from dataver.repository import Repository, init
from dataver.results import Harm, VerifyReport
from dataver.store.base import Store
from dataver.store.local import LocalStore
from dataver.store.memory import MemoryStore
from tests import worlds

URL = "memory://flips"
OTHER_URL = "memory://flips-of-another-repository"
REFS = ("iris@v1", "iris@v5", "iris@v10", "iris@paper", "iris@side", "other@v1")
CHECKPOINT = 64
FLIPS_PER_OBJECT = 6
"""In the quick tests, besides the bytes where the parts of an object begin and end."""

LINKS = {"link": "deep/small"}
"""Reading a symlink reads what it points at, so what harms that harms it."""

Answers = dict[tuple[str, str], object]
"""What was answered, by what was asked ("id", "list", "file", "parts") and of which ref and path."""


@dataclass(frozen=True, slots=True)
class Whole:
    """A repository before anything happens to it: its objects, and all that is asked of it."""

    objects: dict[str, bytes]
    answers: Answers
    versions: dict[str, tuple[str, str]]
    """Dataset and version of each ref, as harms spell them."""

    def of_kind(self, kind: str) -> list[str]:
        """Keys, the largest object first."""
        found = [key for key, data in self.objects.items() if kind_of(key, data) == kind]
        return sorted(found, key=lambda key: (-len(self.objects[key]), key))

    def some(self) -> list[str]:
        """A few objects of each kind: those that other code reads in other ways."""
        tail = max(self.of_kind("entry"))
        entries = [entry_key(0), entry_key(5), entry_key(CHECKPOINT - 1), entry_key(CHECKPOINT), tail]
        data, meta, segments = self.of_kind("data"), self.of_kind("meta"), self.of_kind("segment")
        packs = [data[0], data[-1], meta[0], meta[-1], *self.of_kind("state")]
        return [*entries, *packs, segments[0], segments[-1]]


def kind_of(key: str, data: bytes) -> str:
    if key == HINT_KEY:
        return "hint"
    if key.startswith(LOG_PREFIX):
        return "entry"
    if key.startswith(SEGMENT_PREFIX):
        return "segment"
    assert key.startswith(PACK_PREFIX)
    assert data.startswith(PACK_MAGIC)
    return PackKind(data[10]).name.lower()


def noise(length: int) -> bytes:
    return blake3(b"noise").digest(length=length)


def build(url: str, work: Path) -> None:
    """Versions that share nodes, files of many chunks, a symlink, refs, a checkpoint, a merged segment."""
    repository = init(url)
    (work / "deep").mkdir(parents=True)
    (work / "empty folder").mkdir()
    (work / "noise").write_bytes(noise(150_000))
    (work / "deep" / "table.csv").write_bytes(b"".join(b"%d,%d\n" % (n, n * n) for n in range(12_000)))
    (work / "deep" / "small").write_bytes(b"small\n")
    (work / "none").write_bytes(b"")
    (work / "link").symlink_to("deep/small")
    repository.commit("iris", work, message="first", tags=["paper"])
    for number in range(9):
        (work / "deep" / f"{number}").write_bytes(b"file %d\n" % number)
        if number == 4:
            (work / "noise").write_bytes(noise(70_000) + b"!" + noise(150_000)[70_000:])
        repository.commit("iris", work, message=f"edit {number}")
    repository.branch("iris@v3", "side")
    repository.commit("other", work / "deep", message="another dataset")
    for number in range(56):
        repository.alias(f"iris@v{1 + number % 10}", "prod")


def store_of(url: str) -> Store:
    """The store itself, with no look at what a repository would have to say."""
    protocol, separator, name = url.partition("://")
    return MemoryStore(name) if separator else LocalStore(protocol)


def ask_everything(url: str) -> Iterator[tuple[str, str, object]]:
    """What refs mean, what versions list, what files hold; an error of ours where there is no answer."""
    repository = Repository(url)
    for ref in REFS:
        try:
            version = repository.version(ref)
            yield "id", ref, version.id
            files = list(version.files())
        except DataverError as error:
            yield "error", ref, error
            continue
        yield "list", ref, [(file.path, file.kind, file.size, file.digest) for file in files]
        for file in files:
            if file.kind == "folder":
                continue
            what = f"{ref} {file.path}"
            try:
                data = version.read(file.path)
                yield "file", what, data
                yield "parts", what, version.read_ranges(file.path, [(0, 9), (file.size // 2, 70_000)])
            except DataverError as error:
                yield "error", what, error


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    for url in (URL, OTHER_URL):
        build(url, tmp_path_factory.mktemp("work"))
    store = store_of(URL)
    objects = {info.key: store.get(info.key) for info in store.list("")}
    answers = {(what, of): answer for what, of, answer in ask_everything(URL)}
    assert not [key for key in answers if key[0] == "error"]
    repository = Repository(URL)
    versions = {ref: (ref.partition("@")[0], str(repository.show(ref).version)) for ref in REFS}
    result = Whole(objects, answers, versions)
    kinds = {kind: len(result.of_kind(kind)) for kind in ("entry", "data", "meta", "state", "segment")}
    assert kinds["entry"] > CHECKPOINT
    assert all(kinds.values()), "an object of each kind is needed for the tests to mean anything"
    assert len(result.objects[result.of_kind("segment")[0]]) > 2_000, "no segments were merged"
    assert Repository(URL).verify(deep=True).ok
    return result


@contextmanager
def changed(whole: Whole, changes: dict[str, bytes | None], url: str = URL) -> Iterator[None]:
    """The store with other bytes under some keys, or none."""
    store = store_of(url)
    try:
        for key, data in changes.items():
            store.delete(key)
            if data is not None:
                assert store.put_new(key, data)
        yield
    finally:
        for key in changes:
            store.delete(key)
            if key in whole.objects:
                assert store.put_new(key, whole.objects[key])


def check(whole: Whole, changes: dict[str, bytes | None], url: str = URL) -> VerifyReport:
    """Change objects; all of them must be named, nothing else, and nothing wrong may be read."""
    with changed(whole, changes, url):
        report = Repository(url).verify(deep=True)
        failed = check_reads(whole, url)
    assert {damage.object for damage in report.damaged} == set(changes)
    assert not report.ok
    harms = {harm for damage in report.damaged for harm in damage.harms}
    for what, error in failed.items():
        assert is_harmed(whole, what, harms), f"nothing says that {what} is harmed: {error}"
    return report


def check_reads(whole: Whole, url: str = URL) -> dict[str, DataverError]:
    """Every answer is the right one, or an error of ours; gives those."""
    failed: dict[str, DataverError] = {}
    for what, of, answer in ask_everything(url):
        if what == "error":
            assert isinstance(answer, DataverError)
            failed[of] = answer
        else:
            assert answer == whole.answers[what, of], f"a wrong answer for the {what} of {of}"
    return failed


def is_harmed(whole: Whole, what: str, harms: set[Harm]) -> bool:
    ref, _, path = what.partition(" ")
    dataset, version = whole.versions[ref]
    return any(
        harm.dataset in (None, dataset)
        and harm.version in (None, version)
        and harm.path in (None, path, LINKS.get(path))
        for harm in harms
    )


def flipped(data: bytes, offset: int, bits: int) -> bytes:
    return data[:offset] + bytes([data[offset] ^ bits]) + data[offset + 1 :]


def offsets(data: bytes, rng: random.Random) -> list[int]:
    """Where the magic, version, counts, trailers and their neighbours are, and some others."""
    edges = {0, 8, 12, 20, 33, 60, len(data) - 1, len(data) - 10, len(data) - 41, len(data) - 56}
    inside = {offset for offset in edges if 0 <= offset < len(data)}
    return sorted(inside | {rng.randrange(len(data)) for _ in range(FLIPS_PER_OBJECT)})


def test_a_flipped_byte_is_found_and_never_read(whole: Whole) -> None:
    rng = random.Random(20261)
    for key in whole.some():
        data = whole.objects[key]
        for offset in offsets(data, rng):
            check(whole, {key: flipped(data, offset, 1 << rng.randrange(8))})


def test_an_object_that_is_cut_or_grown_is_found(whole: Whole) -> None:
    rng = random.Random(20262)
    for key in whole.some():
        data = whole.objects[key]
        lengths = {0, 7, 31, 75, len(data) // 2, len(data) - 1, rng.randrange(len(data))}
        for length in sorted(length for length in lengths if length < len(data)):
            check(whole, {key: data[:length]})
        check(whole, {key: data + b"\0"})


def test_a_missing_object_is_found(whole: Whole) -> None:
    tail = max(whole.of_kind("entry"))
    for key in whole.some():
        if key != tail:
            report = check(whole, {key: None})
            assert "missing" in report.damaged[0].reason


def test_a_missing_newest_entry_shows_by_the_hint(whole: Whole) -> None:
    tail = max(whole.of_kind("entry"))
    with changed(whole, {tail: None}):
        report = Repository(URL).verify(deep=True)
        check_reads(whole)
    assert [damage.object for damage in report.damaged] == [HINT_KEY]
    assert report.damaged[0].harms == [Harm(None, None, None)]


@pytest.mark.parametrize("kind", ["entry", "data", "meta", "segment"])
def test_two_objects_in_each_others_place_are_found(whole: Whole, kind: str) -> None:
    keys = [key for key in whole.some() if key in whole.of_kind(kind)]
    for a, b in pairwise(keys):
        check(whole, {a: whole.objects[b], b: whole.objects[a]})


@pytest.mark.parametrize("kind", ["entry", "data", "meta", "state", "segment"])
def test_a_valid_object_of_its_kind_in_an_objects_place_is_found(whole: Whole, kind: str) -> None:
    foreign = store_of(OTHER_URL)
    keys = [key for key in whole.some() if key in whole.of_kind(kind)]
    for key in keys:
        others = [whole.objects[other] for other in whole.of_kind(kind)[:3] if other != key]
        if kind == "entry":
            others.append(foreign.get(key))
        else:
            found = [foreign.get(info.key) for info in foreign.list("") if info.key != HINT_KEY]
            others.append(max((data for data in found if kind_of_bytes(data) == kind), key=len))
        for other in others:
            check(whole, {key: other})


def kind_of_bytes(data: bytes) -> str:
    prefix = PACK_PREFIX if data.startswith(PACK_MAGIC) else LOG_PREFIX
    return kind_of(f"{SEGMENT_PREFIX if data.startswith(b'DVIX') else prefix}x", data)


def test_a_damaged_hint_changes_nothing_that_is_read(whole: Whole) -> None:
    number = len(whole.of_kind("entry")) - 1
    for data in (
        b"",
        b"x",
        b"0",
        b"%d" % (number - 3),
        b"%d" % (number + 1),
        b"9" * 19,
        b"9" * 400,
        bytes(40),
    ):
        with changed(whole, {HINT_KEY: data}):
            report = Repository(URL).verify(deep=True)
            assert check_reads(whole) == {}
        assert {damage.object for damage in report.damaged} <= {HINT_KEY}


def test_a_checkout_of_damaged_objects_leaves_no_wrong_file(whole: Whole, tmp_path: Path) -> None:
    rng = random.Random(20263)
    right = worlds.read(_checkout(tmp_path / "right"))
    outcomes: set[bool] = set()
    for number, key in enumerate(whole.some()):
        data = whole.objects[key]
        for offset in (len(data) // 2, rng.randrange(len(data))):
            target = tmp_path / f"{number}-{offset}"
            with changed(whole, {key: flipped(data, offset, 1 << rng.randrange(8))}):
                try:
                    _checkout(target)
                    assert worlds.read(target) == right
                    outcomes.add(True)
                except DataverError:
                    there = worlds.read(target) if target.exists() else {}
                    files = [path for path, thing in there.items() if thing.kind != worlds.FOLDER]
                    assert all(there[path] == right[path] for path in files)
                    outcomes.add(False)
    assert outcomes == {True, False}


def _checkout(target: Path) -> Path:
    Repository(URL).checkout("iris@v10", target)
    return target


def test_objects_on_a_disk_where_this_machine_saw_them_whole(whole: Whole, tmp_path: Path) -> None:
    url = str(tmp_path / "repository")
    store = store_of(url)
    for key, data in whole.objects.items():
        assert store.put_new(key, data, barrier=False)
    assert check_reads(whole, url) == {}
    tail = max(whole.of_kind("entry"))
    for key in whole.some():
        data = whole.objects[key]
        check(whole, {key: flipped(data, len(data) // 2, 0x10)}, url)
        check(whole, {key: b""}, url)
        if key != tail:
            check(whole, {key: None}, url)
    with changed(whole, {tail: None, HINT_KEY: None}, url):
        report = Repository(url).verify(deep=True)
        assert check_reads(whole, url).keys() == set(REFS)
    assert [damage.object for damage in report.damaged] == [tail]


@pytest.mark.soak
@pytest.mark.parametrize("number", range(12))
def test_every_flipped_byte_is_found_and_never_read(whole: Whole, number: int) -> None:
    # Of large objects other bytes in each run; what fails prints which.
    key = whole.some()[number]
    data = whole.objects[key]
    step = max(1, len(data) // 1_500)
    for offset in range(random.randrange(step), len(data), step):
        bits = 1 << random.randrange(8)
        print(f"{key}: offset {offset}, bits {bits:#04x}")
        check(whole, {key: flipped(data, offset, bits)})
