"""`DATASET@SELECTOR`: what is a ref and what is not, and what each means in a state."""

from __future__ import annotations

from itertools import pairwise

import pytest

from dataver.digest import Digest
from dataver.errors import AlreadyExistsError, BadInputError, ConflictError, DamagedError, RefNotFoundError
from dataver.format.operations import (
    ALIAS,
    BRANCH,
    TAG,
    AliasSet,
    BranchSet,
    DatasetCreate,
    Genesis,
    Operation,
    RefDelete,
    TagCreate,
    VersionAdd,
)
from dataver.format.version import VersionRecord
from dataver.hashing import blake3_digest
from dataver.log.apply import Applier
from dataver.log.state import State
from dataver.refs import (
    Ref,
    check_dataset_name,
    check_new_ref,
    check_ref_name,
    live_ref,
    parse_ref,
    require_dataset,
    resolve,
)
from dataver.tree.schema import STATE, MemoryNodes

DATASET = b"d" * 16
HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("iris", Ref("iris", "latest")),
        ("a/b/c", Ref("a/b/c", "latest")),
        ("_.-/A-1.x", Ref("_.-/A-1.x", "latest")),
        ("iris@latest", Ref("iris", "latest")),
        ("iris@v1", Ref("iris", "v1")),
        ("iris@v999999999999999999", Ref("iris", "v999999999999999999")),
        ("iris@main", Ref("iris", "main")),
        ("iris@v1.0", Ref("iris", "v1.0")),
        ("iris@1", Ref("iris", "1")),
        ("iris@abcdef0", Ref("iris", "abcdef0")),
        ("iris@abcdef01", Ref("iris", "abcdef01")),
        ("iris@abcdef0G", Ref("iris", "abcdef0G")),
        (f"iris@{HEX}", Ref("iris", HEX)),
        ("iris@latest~", Ref("iris", "latest", 1)),
        ("iris@v3~2", Ref("iris", "v3", 2)),
        ("iris@main~~", Ref("iris", "main", 2)),
        ("iris@main~1~2~", Ref("iris", "main", 4)),
        ("iris@main~0", Ref("iris", "main", 0)),
    ],
)
def test_refs_that_are_refs(text: str, ref: Ref) -> None:
    assert parse_ref(text) == ref
    assert parse_ref(str(ref)) == ref


@pytest.mark.parametrize(
    "text",
    [
        *("", "@", "@v1", "iris@", "iris@~1", "iris@@v1", "iris@v1@v2", "iris~1", "iris@v1~x", "iris@v1~-1"),
        *(
            "iris@v0",
            "iris@v01",
            f"iris@v{'9' * 19}",
            "iris@ABCDEF01",
            "iris@a b",
            "iris@a/b",
        ),
        *("iris@-x", "iris@.x", "iris@v1\n", "iris\n", "iris@v\u0661", "iris@v1~\u0661", "iris@caf\u00e9"),
        *("/iris", "iris/", "a//b", "a/./b", "a/../b", ".a", "-a", "a/-b", "a b", "a\\b", "caf\u00e9", "a\0"),
        *("a" * 201, "iris@" + "x" * 201, "iris@v1" + "~" * 500),
    ],
)
def test_refs_that_are_none(text: str) -> None:
    with pytest.raises(BadInputError):
        parse_ref(text)


@pytest.mark.parametrize("name", ["a", "A_b-c.d/e", "9", "_", "a" * 200, "/".join("a" * 100), "latest", "v1"])
def test_names_for_datasets(name: str) -> None:
    assert check_dataset_name(name) == name


@pytest.mark.parametrize(
    "name", ["main", "prod", "v1.0", "v1-rc", "V1", "v", "abcdef0", "g" * 64, "a" * 65, "_"]
)
def test_names_for_refs(name: str) -> None:
    assert check_ref_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "latest",
        "v1",
        "v0",
        "v007",
        "v" + "1" * 30,
        "abcdef01",
        "ABCDEF01",
        "12345678",
        HEX,
        "a/b",
        ".a",
        "-a",
        "a~",
        "a@b",
        "a b",
        "a\n",
        "é",
        "a" * 201,
    ],
)
def test_names_that_refs_cannot_have(name: str) -> None:
    with pytest.raises(BadInputError):
        check_ref_name(name)


def id_of(number: int) -> Digest:
    """Ids 1 and 2 share their first 9 digits, the others nothing."""
    heads = {1: "abcdef0120", 2: "abcdef0127"}
    return Digest.parse(heads.get(number, f"{number}{number}00000000") + HEX[:54])


RECORDS = {
    id_of(child): VersionRecord(blake3_digest(b""), (id_of(parent),) if parent else (), 0, "", "")
    for parent, child in [*pairwise(range(6)), (2, 7)]
}


def do(state: State, *operations: Operation) -> None:
    Applier(state, state.number, checked=True).apply(operations)


@pytest.fixture
def state() -> State:
    """Versions 1 to 5 on main, 7 on a branch from 2."""
    made = State(1, Genesis(1, "", 0, 0, 0), MemoryNodes(STATE), None, {})
    ids = [id_of(number) for number in range(1, 6)]
    do(made, DatasetCreate(DATASET, "iris"))
    for version in (*ids, id_of(7)):
        do(made, VersionAdd(DATASET, version, blake3_digest(b""), 1, 2, 3, 4))
    do(made, BranchSet(DATASET, "main", None, ids[-1], 1, tuple(ids)))
    do(made, BranchSet(DATASET, "side", None, id_of(7)))
    do(made, TagCreate(DATASET, "paper", id_of(2)), AliasSet(DATASET, "prod", None, id_of(3)))
    return made


@pytest.mark.parametrize(
    ("selector", "number"),
    [
        *(("latest", 5), ("main", 5), ("v1", 1), ("v5", 5), ("paper", 2), ("prod", 3), ("side", 7)),
        *(("latest~", 4), ("latest~4", 1), ("v3~2", 1), ("side~", 2), ("side~~", 1), ("paper~0", 2)),
        *((str(id_of(3)), 3), (str(id_of(3))[:8], 3), (str(id_of(3))[:9], 3), (f"{str(id_of(7))[:10]}~", 2)),
        *(("abcdef0120", 1), ("abcdef0127", 2), ("abcdef01270", 2)),
    ],
)
def test_what_a_ref_means(state: State, selector: str, number: int) -> None:
    found = resolve(state, parse_ref(f"iris@{selector}"), RECORDS.__getitem__)
    assert found.version.id == id_of(number)
    assert found.canonical == (f"iris@{id_of(7)}" if number == 7 else f"iris@v{number}")


@pytest.mark.parametrize("digits", [8, 9])
def test_digits_of_two_versions_mean_neither(state: State, digits: int) -> None:
    with pytest.raises(BadInputError, match="2 versions") as raised:
        resolve(state, parse_ref(f"iris@{'abcdef012'[:digits]}"), RECORDS.__getitem__)
    assert str(id_of(1))[:10] in str(raised.value)
    assert str(id_of(2))[:10] in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "iris@v6",
        "iris@v1~1",
        "iris@latest~5",
        "iris@latest~999999",
        "iris@gone",
        "iris@ffffffff",
        "other",
        "iris@abcdef012f",
        f"iris@{HEX}",
    ],
)
def test_what_is_not_there(state: State, text: str) -> None:
    with pytest.raises(RefNotFoundError):
        resolve(state, parse_ref(text), RECORDS.__getitem__)


def test_a_version_that_the_log_does_not_know_is_damage(state: State) -> None:
    Applier(state, state.number, checked=False).apply([AliasSet(DATASET, "lost", None, id_of(9))])
    with pytest.raises(DamagedError):
        resolve(state, parse_ref("iris@lost"), RECORDS.__getitem__)


def test_names_of_datasets_are_checked_before_they_are_looked_up(state: State) -> None:
    assert require_dataset(state, "iris") == DATASET
    with pytest.raises(BadInputError):
        require_dataset(state, "../iris")


@pytest.mark.parametrize(
    ("kind", "name", "number"),
    [(BRANCH, "paper", 2), (ALIAS, "paper", 2), (TAG, "prod", 3), (BRANCH, "prod", 3), (TAG, "side", 7)],
)
def test_a_name_is_of_one_kind(state: State, kind: int, name: str, number: int) -> None:
    with pytest.raises(AlreadyExistsError, match="already"):
        check_new_ref(state, DATASET, kind, name, id_of(number))


def test_tags_do_not_move_and_others_do(state: State) -> None:
    with pytest.raises(AlreadyExistsError, match="never move"):
        check_new_ref(state, DATASET, TAG, "paper", id_of(3))
    for kind, name, number in ((TAG, "paper", 2), (ALIAS, "prod", 1), (BRANCH, "side", 1)):
        found = check_new_ref(state, DATASET, kind, name, id_of(number))
        assert found == live_ref(state, DATASET, name)
        assert found is not None
    assert check_new_ref(state, DATASET, TAG, "new", id_of(1)) is None


def test_a_deleted_tag_comes_back_only_where_it_was(state: State) -> None:
    do(state, RefDelete(DATASET, TAG, "paper", id_of(2)))
    assert live_ref(state, DATASET, "paper") is None
    with pytest.raises(RefNotFoundError):
        resolve(state, parse_ref("iris@paper"), RECORDS.__getitem__)
    for kind, number in ((TAG, 3), (ALIAS, 2), (BRANCH, 2)):
        with pytest.raises(AlreadyExistsError, match="may only come back"):
            check_new_ref(state, DATASET, kind, "paper", id_of(number))
    refused: list[Operation] = [
        TagCreate(DATASET, "paper", id_of(3)),
        AliasSet(DATASET, "paper", None, id_of(2)),
        BranchSet(DATASET, "paper", None, id_of(2)),
    ]
    for operation in refused:
        with pytest.raises(ConflictError):
            do(state, operation)
    assert check_new_ref(state, DATASET, TAG, "paper", id_of(2)) is None
    do(state, TagCreate(DATASET, "paper", id_of(2)))
    assert resolve(state, parse_ref("iris@paper"), RECORDS.__getitem__).version.id == id_of(2)


@pytest.mark.parametrize(("kind", "name", "number"), [(ALIAS, "prod", 3), (BRANCH, "side", 7)])
def test_the_name_of_a_deleted_alias_or_branch_is_free(
    state: State, kind: int, name: str, number: int
) -> None:
    do(state, RefDelete(DATASET, kind, name, id_of(number)))
    assert check_new_ref(state, DATASET, TAG, name, id_of(1)) is None
    do(state, TagCreate(DATASET, name, id_of(1)))
    found = live_ref(state, DATASET, name)
    assert found is not None
    assert (found.kind, found.target) == (TAG, id_of(1))


def test_what_moved_meanwhile_is_a_conflict(state: State) -> None:
    stale: list[Operation] = [
        AliasSet(DATASET, "prod", id_of(1), id_of(2)),
        AliasSet(DATASET, "prod", None, id_of(2)),
        BranchSet(DATASET, "side", id_of(1), id_of(2)),
        RefDelete(DATASET, TAG, "paper", id_of(1)),
        RefDelete(DATASET, TAG, "gone", id_of(1)),
        BranchSet(DATASET, "main", id_of(5), id_of(7), 5, (id_of(7),)),
        DatasetCreate(b"e" * 16, "iris"),
    ]
    before = dict(state.items())
    for operation in stale:
        with pytest.raises(ConflictError):
            do(state.copy(), operation)
    assert dict(state.items()) == before
