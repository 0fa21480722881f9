"""What each operation does to the state, and which ones may not follow."""

from __future__ import annotations

import pytest

from dataver.digest import Digest
from dataver.errors import ConflictError
from dataver.format.operations import (
    ALIAS,
    BRANCH,
    CONDEMN,
    FORGET,
    MADE,
    READ,
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
    VersionAdd,
    VersionMark,
    VersionNumber,
)
from dataver.hashing import blake3_digest
from dataver.log.apply import Applier
from dataver.log.run_state import (
    ModelState,
    RunState,
    model_named,
    models,
    models_of_run,
    models_with,
    newest_model,
    run_named,
    runs,
    runs_of_version,
    tracked,
)
from dataver.log.state import PACK_NAME, SEGMENT_NAME, RefState, SegmentState, State, VersionState
from dataver.tree.schema import STATE, MemoryNodes

D, E = b"d" * 16, b"e" * 16
RUN, OTHER_RUN = b"r" * 16, b"s" * 16


def digest(name: object) -> Digest:
    return blake3_digest(str(name).encode())


V1, V2, V3, LOST = (digest(name) for name in ("v1", "v2", "v3", "lost"))
PACK, SEGMENT, OTHER = (digest(name) for name in ("pack", "segment", "other"))


def do(state: State, *operations: Operation, number: int | None = None, checked: bool = True) -> None:
    """Apply, as entry `number` or the next one."""
    state.number = state.number + 1 if number is None else number
    Applier(state, state.number, checked=checked).apply(operations)


def added(version: Digest, dataset: bytes = D, run: bytes = b"") -> VersionAdd:
    return VersionAdd(dataset, version, digest(f"manifest of {version}"), 3, 50, 20, 10, run)


@pytest.fixture
def state() -> State:
    """Entry 1: a dataset with three versions on main, of which a tag and an alias name one each."""
    made = State(0, Genesis(1, "", 0, 0, 0), MemoryNodes(STATE), None, {})
    do(made, DatasetCreate(D, "iris"), added(V1), added(V2), added(V3))
    state_is = BranchSet(D, "main", None, V3, 1, (V1, V2, V3))
    do(made, state_is, TagCreate(D, "paper", V1), AliasSet(D, "prod", None, V2), number=1)
    return made


def refused(state: State, *operations: Operation) -> bool:
    """Each is a conflict, changes nothing, and is taken by a reader of what was accepted."""
    for operation in operations:
        before = dict(state.changes)
        with pytest.raises(ConflictError):
            do(state.copy(), operation)
        assert state.changes == before
        do(state.copy(), operation, checked=False)
    return True


# Datasets


def test_a_dataset_is_created_renamed_deleted_and_restored(state: State) -> None:
    do(state, DatasetRename(D, "iris", "flowers"))
    assert list(state.datasets()) == [("flowers", D)]
    do(state, DatasetDelete(D, "flowers"))
    assert list(state.datasets()) == []
    assert list(state.deleted_datasets()) == [(D, "flowers")]
    do(state, DatasetRestore(D, "plants"))
    assert list(state.datasets()) == [("plants", D)]
    assert list(state.deleted_datasets()) == []


def test_the_name_of_another_dataset_is_not_taken(state: State) -> None:
    do(state, DatasetCreate(E, "other"))
    assert refused(state, DatasetCreate(b"x" * 16, "iris"), DatasetRename(D, "iris", "other"))
    assert refused(state, DatasetRename(E, "iris", "new"), DatasetDelete(E, "iris"))
    assert refused(state, DatasetRename(D, "gone", "new"), DatasetDelete(D, "gone"))
    do(state, DatasetDelete(D, "iris"))
    assert refused(state, DatasetRestore(D, "other"))


def test_only_what_is_deleted_is_restored(state: State) -> None:
    assert refused(state, DatasetRestore(D, "again"))


def test_a_dataset_whose_names_lead_to_what_was_collected_is_not_restored(state: State) -> None:
    do(state, DatasetDelete(D, "iris"), VersionMark(D, CONDEMN, (V1,)))
    assert refused(state, DatasetRestore(D, "iris"))
    do(state, RefDelete(D, TAG, "paper", V1))
    do(state, DatasetRestore(D, "iris"))
    assert state.dataset("iris") == D


# Versions


def test_a_version_is_known_as_it_was_added(state: State) -> None:
    do(state, added(LOST, run=RUN), number=7)
    manifest = digest(f"manifest of {LOST}")
    assert state.version(D, LOST) == VersionState(LOST, 7, 0, manifest, 3, 50, 20, 10, RUN)
    assert state.version(E, LOST) is None
    assert [version.number for version in state.versions(D)] == [
        {V1: 1, V2: 2, V3: 3, LOST: 0}[version] for version in sorted([V1, V2, V3, LOST])
    ]


def test_a_version_that_is_there_is_not_added_again(state: State) -> None:
    before = state.version(D, V1)
    do(state, VersionAdd(D, V1, digest("another"), 9, 9, 9, 9))
    assert state.version(D, V1) == before


def test_a_condemned_version_is_in_no_listing_and_gets_no_name(state: State) -> None:
    do(state, VersionMark(D, CONDEMN, (V1,)), number=5)
    assert state.version(D, V1) is None
    assert sorted(version.id for version in state.versions(D)) == sorted([V2, V3])
    assert sorted(version.id for version in state.every_version(D)) == sorted([V1, V2, V3])
    assert list(state.condemned(D)) == [(V1, 5)]
    assert list(state.condemned(E)) == []
    names = TagCreate(D, "x", V1), AliasSet(D, "x", None, V1), BranchSet(D, "x", None, V1)
    assert refused(state, *names, VersionNumber(D, 9, (V1,)), AliasSet(D, "prod", V2, V1), Hold("x", V1))


def test_a_condemned_version_that_is_stored_again_is_here_again(state: State) -> None:
    do(state, VersionMark(D, CONDEMN, (V1,)))
    do(state, VersionAdd(D, V1, digest("new manifest"), 4, 51, 21, 11), number=9)
    found = state.version(D, V1)
    assert found == VersionState(V1, 9, 1, digest("new manifest"), 4, 51, 21, 11, b"")
    assert list(state.condemned(D)) == []


def test_a_version_is_spared_as_it_was(state: State) -> None:
    before = state.version(D, V1)
    do(state, VersionMark(D, CONDEMN, (V1,)), Shallow(D, (V1,)))
    assert state.is_absent(D, V1)
    do(state, VersionMark(D, SPARE, (V1,)))
    assert state.version(D, V1) == before
    assert list(state.condemned(D)) == []
    assert not state.is_absent(D, V1)


def test_a_version_is_forgotten_and_its_number_stays_given(state: State) -> None:
    do(state, VersionMark(D, CONDEMN, (V1, V2)), Shallow(D, (V1, V2)))
    do(state, VersionMark(D, FORGET, (V1,)))
    assert [version.id for version in state.every_version(D) if version.id in (V1, V2)] == [V2]
    assert [version for version, _ in state.condemned(D)] == [V2]
    assert state.is_absent(D, V1)  # A parent that is gone is no damage.
    assert state.numbered(D, 1) == V1


def test_a_version_is_condemned_once_and_spared_or_forgotten_only_then(state: State) -> None:
    for kind in (SPARE, FORGET):
        assert refused(state, VersionMark(D, kind, (V1,)))
    do(state, VersionMark(D, CONDEMN, (V1,)))
    assert refused(state, VersionMark(D, CONDEMN, (V1,)), VersionMark(D, CONDEMN, (V2, V1)))
    for kind in (CONDEMN, SPARE, FORGET):
        assert refused(state, VersionMark(D, kind, (LOST,)), VersionMark(E, kind, (V1,)))


def test_one_version_that_is_not_here_stops_no_reader(state: State) -> None:
    do(state, VersionMark(D, CONDEMN, (LOST, V1)), checked=False)
    assert [version for version, _ in state.condemned(D)] == [V1]


def test_parents_are_absent_on_purpose_only_where_they_are(state: State) -> None:
    do(state, Shallow(D, (LOST,)))
    assert state.is_absent(D, LOST)
    assert list(state.absent(D)) == [LOST]
    assert refused(state, Shallow(D, (V1,)), Shallow(D, (), (LOST,)))
    do(state, added(LOST), Shallow(D, (), (LOST,)))
    assert not state.is_absent(D, LOST)
    assert list(state.absent(D)) == []


# Names and numbers


def test_a_branch_moves_from_where_it_is_expected(state: State) -> None:
    do(state, added(LOST), BranchSet(D, "main", V3, LOST, 4, (LOST,)))
    assert state.ref(D, "main") == RefState(BRANCH, "main", LOST)
    assert state.numbered(D, 4) == LOST
    found = state.version(D, LOST)
    assert found is not None
    assert found.number == 4
    assert refused(state, BranchSet(D, "main", V3, V1), BranchSet(D, "main", None, V1))
    assert refused(state, BranchSet(D, "x", V1, V2), BranchSet(D, "paper", V1, V2))


def test_names_lead_only_to_versions_that_are_here(state: State) -> None:
    assert refused(state, BranchSet(D, "x", None, LOST), BranchSet(D, "main", V3, LOST))
    assert refused(state, TagCreate(D, "x", LOST), AliasSet(D, "x", None, LOST))
    assert refused(state, VersionNumber(D, 4, (V1, LOST)), Hold("x", LOST))


def test_tags_never_move_and_aliases_do(state: State) -> None:
    assert refused(state, TagCreate(D, "paper", V2), TagCreate(D, "paper", V1))
    assert refused(state, TagCreate(D, "prod", V2), AliasSet(D, "paper", V1, V1))
    assert refused(state, AliasSet(D, "prod", V1, V3), AliasSet(D, "prod", None, V3))
    do(state, AliasSet(D, "prod", V2, V3))
    assert state.ref(D, "prod") == RefState(ALIAS, "prod", V3)
    assert state.ref(D, "paper") == RefState(TAG, "paper", V1)


def test_a_name_that_is_deleted_keeps_its_target(state: State) -> None:
    assert refused(state, RefDelete(D, TAG, "paper", V2), RefDelete(D, ALIAS, "paper", V1))
    do(state, RefDelete(D, TAG, "paper", V1), RefDelete(D, ALIAS, "prod", V2))
    assert state.ref(D, "paper") == RefState(TAG, "paper", V1, deleted=True)
    assert [(ref.name, ref.deleted) for ref in state.refs(D)] == [
        ("main", False),
        ("paper", True),
        ("prod", True),
    ]
    assert refused(state, RefDelete(D, TAG, "paper", V1), TagCreate(D, "paper", V2))
    do(state, TagCreate(D, "paper", V1), AliasSet(D, "prod", None, V1))
    assert [ref.deleted for ref in state.refs(D)] == [False, False, False]


def test_a_number_is_given_once(state: State) -> None:
    do(state, added(LOST))
    assert refused(state, VersionNumber(D, 3, (LOST,)), BranchSet(D, "main", V3, LOST, 3, (LOST,)))
    assert refused(state, VersionNumber(D, 2, (LOST,)))
    do(state, VersionNumber(D, 10, (LOST, V1)))
    assert list(state.numbers(D)) == [(1, V1), (2, V2), (3, V3), (10, LOST), (11, V1)]
    assert state.next_number(D, 0) == 12
    assert state.next_number(D, 3) == 4
    assert [state.next_number(D, after) for after in (1, 2, 9, 10)] == [4, 4, 12, 12]
    assert state.next_number(E, 0) == 1


def test_a_version_that_is_added_again_may_have_its_number_again(state: State) -> None:
    do(state, VersionMark(D, CONDEMN, (V1, V2)), VersionMark(D, FORGET, (V1, V2)))
    do(state, added(V1), added(V2))
    assert refused(state, VersionNumber(D, 1, (V2,)), VersionNumber(D, 2, (V2, V1)))
    do(state, VersionNumber(D, 1, (V1, V2)))
    found = [state.version(D, version) for version in (V1, V2)]
    assert [version and version.number for version in found] == [1, 2]
    assert list(state.numbers(D)) == [(1, V1), (2, V2), (3, V3)]


def test_numbers_of_versions_that_are_not_here_are_kept_by_a_reader(state: State) -> None:
    do(state, VersionNumber(D, 4, (LOST,)), checked=False)
    assert state.numbered(D, 4) == LOST
    assert state.version(D, LOST) is None


# What is collected


def test_what_is_marked_is_swept_only_then(state: State) -> None:
    assert refused(state, GcSweep((PACK,)), GcSweep((), (SEGMENT,)))
    do(state, GcMark((PACK,), (SEGMENT,)), number=5)
    assert state.marks() == {PACK: (5, PACK_NAME), SEGMENT: (5, SEGMENT_NAME)}
    assert state.marked() == {PACK: PACK_NAME, SEGMENT: SEGMENT_NAME}
    assert state.swept() == {}
    assert refused(state, GcSweep((PACK, OTHER)))
    do(state, GcSweep((PACK,)))
    assert state.marks() == {SEGMENT: (5, SEGMENT_NAME)}
    assert state.swept() == {PACK: PACK_NAME}
    assert state.marked() == {PACK: PACK_NAME, SEGMENT: SEGMENT_NAME}
    assert refused(state, GcSweep((PACK,)))


def test_what_is_restored_is_not_swept(state: State) -> None:
    do(state, GcMark((PACK, OTHER), (SEGMENT,)), GcRestore((PACK,), (SEGMENT,)))
    assert list(state.marks()) == [OTHER]
    assert refused(state, GcSweep((PACK,)), GcSweep((), (SEGMENT,)))
    do(state, GcSweep((OTHER,)), GcRestore((OTHER,)))
    assert state.swept() == {OTHER: PACK_NAME}  # Too late: it is being deleted.


def test_segments_are_merged_only_where_all_are_valid(state: State) -> None:
    one, two, merged = digest(1), digest(2), digest(3)
    do(state, IndexAdd(one, 5, 100), IndexAdd(two, 7, 200))
    do(state, IndexReplace((one, OTHER), merged, 9, 300))  # Dropped: somebody else merged one of them.
    assert sorted(state.segments(), key=lambda found: found.keys) == [
        SegmentState(one, 5, 100),
        SegmentState(two, 7, 200),
    ]
    do(state, IndexReplace((one, two), merged, 9, 300))
    assert state.segments() == [SegmentState(merged, 9, 300)]


def test_a_hold_is_set_and_released(state: State) -> None:
    do(state, DatasetCreate(E, "other"), Hold("audit", V2), Hold("court", V1))
    assert list(state.holds()) == [("audit", V2), ("court", V1)]
    do(state, Hold("audit", None))
    assert list(state.holds()) == [("court", V1)]


def test_an_erasure_is_known_by_its_digest(state: State) -> None:
    do(state, Erase(V1, "a law"))
    assert state.erased(V1) == "a law"
    assert state.erased(V2) is None
    assert list(state.erasures()) == [(V1, "a law")]


# Runs and models


def test_a_run_starts_once_and_ends_only_then(state: State) -> None:
    assert refused(state, RunEnd(RUN, digest("end"), 2))
    do(state, RunEnd(RUN, digest("end"), 2), checked=False)
    assert run_named(state, RUN) is None
    do(state, RunStart(RUN, digest("start")), number=5)
    do(state, RunStart(OTHER_RUN, digest("other")), number=6)
    assert run_named(state, RUN) == RunState(RUN, 5, digest("start"), None, 0)
    assert refused(state, RunStart(RUN, digest("again")))
    do(state, RunEnd(RUN, digest("end"), 2))
    found = run_named(state, RUN)
    assert found == RunState(RUN, 5, digest("start"), digest("end"), 2)
    assert found.record == digest("end")
    assert [run.id for run in runs(state)] == [RUN, OTHER_RUN]
    assert [run.id for run in runs(state, newest_first=True)] == [OTHER_RUN, RUN]


def test_a_run_reads_and_makes_versions(state: State) -> None:
    do(state, RunLink(RUN, READ, (V1, V2)), RunLink(OTHER_RUN, MADE, (V1,)))
    assert dict(runs_of_version(state, V1)) == {RUN: READ, OTHER_RUN: MADE}
    do(state, RunLink(RUN, MADE, (V1,)))
    assert dict(runs_of_version(state, V1)) == {RUN: READ | MADE, OTHER_RUN: MADE}
    assert dict(runs_of_version(state, V2)) == {RUN: READ}


def test_a_run_is_found_by_its_name_elsewhere(state: State) -> None:
    do(state, RunTracker(RUN, "mlflow:1"), RunTracker(OTHER_RUN, "mlflow:1"), RunTracker(RUN, "mlflow:12"))
    assert list(tracked(state, "mlflow:1")) == [RUN, OTHER_RUN]
    assert list(tracked(state, "mlflow:12")) == [RUN]
    assert list(tracked(state, "mlflow:")) == []


def test_a_version_of_a_model_is_made_once(state: State) -> None:
    one, two = ModelCreate("churn", 1, RUN, digest("end")), ModelCreate("churn", 2, RUN, digest("end"))
    do(state, one, two, ModelCreate("churn2", 5, OTHER_RUN, digest("other")))
    assert refused(state, one)
    second = ModelState("churn", 2, RUN, digest("end"))
    assert model_named(state, "churn", 2) == newest_model(state, "churn") == second
    assert model_named(state, "churn", 3) is None
    assert newest_model(state, "chur") is None
    assert [str(model) for model in models(state)] == ["churn@v1", "churn@v2", "churn2@v5"]
    assert [str(model) for model in models_of_run(state, RUN)] == ["churn@v1", "churn@v2"]


def test_a_model_is_found_by_its_files(state: State) -> None:
    do(state, ModelCreate("churn", 1, RUN, digest("end")), ModelFiles("churn", 1, (V1, V2)))
    do(state, ModelFiles("gone", 1, (V1,)))
    assert [str(model) for model in models_with(state, V1)] == ["churn@v1"]
    assert models_with(state, V3) == []


def test_what_is_written_of_models_is_what_the_format_says(state: State) -> None:
    """Where it only reads back, another release would write another state after the same entries."""
    before = dict(state.changes)
    do(state, ModelCreate("churn", 258, RUN, digest("end")), ModelFiles("churn", 258, (V1,)))
    name = b"churn\0" + bytes([0, 0, 0, 0, 0, 0, 1, 2])
    assert {key: value for key, value in state.changes.items() if key not in before} == {
        b"modl" + name: RUN + digest("end"),
        b"modr" + RUN + name: b"",
        b"modf" + V1 + name: b"",
    }


def test_what_is_written_of_runs_is_what_the_format_says(state: State) -> None:
    before = dict(state.changes)
    do(
        state,
        RunStart(RUN, digest("start")),
        RunTracker(RUN, "mlflow:1"),
        RunLink(RUN, READ, (V1,)),
        number=258,
    )
    assert {key: value for key, value in state.changes.items() if key not in before} == {
        b"runs" + RUN: bytes([2, 1, 0, 0, 0, 0, 0, 0]) + digest("start") + bytes(32) + bytes([0]),
        b"rord" + bytes([0, 0, 0, 0, 0, 0, 1, 2]) + RUN: b"",
        b"trakmlflow:1\0" + RUN: b"",
        b"used" + V1 + RUN: bytes([READ]),
    }


# Settings and signatures


def test_a_setting_without_a_value_is_gone(state: State) -> None:
    do(state, ConfigSet("a.one", "1"), ConfigSet("a.two", "2"), ConfigSet("b", "3"))
    assert list(state.settings("a.")) == [("a.one", "1"), ("a.two", "2")]
    do(state, ConfigSet("a.one", ""))
    assert state.setting("a.one") is None
    assert state.setting("a.two") == "2"


def test_signatures_are_kept_by_subject_and_key(state: State) -> None:
    do(state, Sign(V1, digest("ana"), b"x"), Sign(V1, digest("bo"), b"y"), Sign(V2, digest("ana"), b"z"))
    do(state, Sign(V1, digest("ana"), b"newer"))
    assert state.signature(V1, digest("ana")) == b"newer"
    assert state.signature(V2, digest("bo")) is None
    found = {(one.subject, one.signer): one.envelope for one in state.signatures(V1)}
    assert found == {(V1, digest("ana")): b"newer", (V1, digest("bo")): b"y"}
    assert len(list(state.signatures())) == 3


def test_an_operation_without_a_meaning_is_an_error(state: State) -> None:
    before = dict(state.changes)
    do(state, state.genesis)
    assert state.changes == before
    with pytest.raises(TypeError, match="Operation cannot be applied"):
        do(state, Operation())
