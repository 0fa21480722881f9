from __future__ import annotations

from pathlib import Path

import pytest

from dataver.errors import BadInputError
from dataver.format.operations import ConfigSet
from dataver.keys import PACK_PREFIX
from dataver.repository import Repository
from dataver.testing.stores import CountingStore
from dataver.verify import Part
from tests.damage import append, commit, flip, harms, opened, place_of
from tests.repositories import memory_repository
from tests.worlds import noise

COUNT = 3


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    repository = memory_repository()
    for number in range(8):
        commit(repository, tmp_path / "data", **{f"f{number}": noise(number, 10_000)})
    return repository


def packs(repository: Repository) -> set[str]:
    return {info.key for info in repository.session.store.list(PACK_PREFIX)}


def read_in_full(repository: Repository, part: str) -> set[str]:
    """The packs that a verification of a part reads as whole objects."""
    counting: list[CountingStore] = []

    def wrap(store: object) -> CountingStore:
        counting.append(CountingStore(store))  # type: ignore[arg-type]
        return counting[0]

    report = opened(repository, wrap).verify(deep=True, part=part)
    assert report.ok
    assert report.part == part
    return {
        call.key for call in counting[0].calls if call.method == "get" and call.key.startswith(PACK_PREFIX)
    }


def test_all_parts_together_read_every_pack_and_no_pack_twice(repository: Repository) -> None:
    parts = [read_in_full(repository, f"{number}/{COUNT}") for number in range(1, COUNT + 1)]
    assert set().union(*parts) == packs(repository)
    assert sum(map(len, parts)) == len(packs(repository))


def test_what_is_added_between_the_parts_takes_nothing_out_of_them(
    repository: Repository, tmp_path: Path
) -> None:
    at_first = packs(repository)
    seen: set[str] = set()
    for number in range(1, COUNT + 1):
        seen |= read_in_full(repository, f"{number}/{COUNT}")
        commit(repository, tmp_path / "data", **{f"later{number}": noise(100 + number, 10_000)})
    assert at_first <= seen


def test_a_flipped_byte_is_found_by_the_part_of_its_pack_and_by_no_other(repository: Repository) -> None:
    key, offset = place_of(repository, "f3")
    flip(repository.session.store, key, offset)
    reports = [
        opened(repository).verify(deep=True, part=f"{number}/{COUNT}") for number in range(1, COUNT + 1)
    ]
    found = [report for report in reports if not report.ok]
    assert [harms(report).keys() for report in found] == [{key}]
    assert ("iris", "v8", "f3") in harms(found[0])[key]
    assert found[0].part == f"{int(key[-64:-48], 16) % COUNT + 1}/{COUNT}"


def test_each_part_checks_log_index_and_manifests(repository: Repository) -> None:
    number = append(repository, ConfigSet("a", "b"))
    flip(repository.session.store, f"log/{number:020d}", 40)
    for part in range(1, COUNT + 1):
        assert not opened(repository).verify(deep=True, part=f"{part}/{COUNT}").ok


def test_a_file_of_many_chunks_is_read_as_a_whole_by_exactly_one_part(tmp_path: Path) -> None:
    repository = memory_repository()
    size = 3_000_000
    commit(repository, tmp_path / "data", large=noise(7, size))
    read = [opened(repository).verify(deep=True, part=f"{n}/{COUNT}").bytes for n in range(1, COUNT + 1)]
    whole = opened(repository).verify(deep=True).bytes
    # The pack once, and the file once.
    assert 2 * size < whole < sum(read) < whole + size // 2


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "a/b", "1/3/4", "-1/3", ""])
def test_what_is_no_part_is_refused(repository: Repository, text: str) -> None:
    with pytest.raises(BadInputError, match="part"):
        repository.verify(deep=True, part=text)


def test_a_part_is_one_of_a_deep_verification(repository: Repository) -> None:
    with pytest.raises(BadInputError, match="deep"):
        repository.verify(part="1/2")


def test_a_name_is_in_exactly_one_part_and_no_part_has_much_more_than_its_share() -> None:
    parts = [Part(number, 7) for number in range(1, 8)]
    names = [(value * 0x9E3779B97F4A7C15 % 2**64).to_bytes(8, "big") + bytes(24) for value in range(700)]
    assert all(sum(part.has(name) for part in parts) == 1 for name in names)
    assert all(70 < sum(part.has(name) for name in names) < 130 for part in parts)
