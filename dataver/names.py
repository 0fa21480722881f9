"""Setting and deleting the names in a repository: tags, aliases, branches, and the datasets' own."""

from __future__ import annotations

from dataver.errors import AlreadyExistsError, BadInputError, RefNotFoundError
from dataver.format.operations import (
    ALIAS,
    BRANCH,
    TAG,
    AliasSet,
    BranchSet,
    DatasetDelete,
    DatasetRename,
    DatasetRestore,
    Operation,
    RefDelete,
    TagCreate,
)
from dataver.log.state import KIND_NAMES, RefState, State
from dataver.refs import (
    MAIN,
    Resolved,
    check_dataset_name,
    check_new_ref,
    live_ref,
    parse_ref,
    require_dataset,
    require_version,
)
from dataver.results import DatasetInfo, RefInfo, RefResult
from dataver.session import Session

KINDS = {name: kind for kind, name in KIND_NAMES.items()}


def datasets(state: State) -> list[DatasetInfo]:
    """The datasets by name, each with the head of its `main`."""
    found = []
    for name, dataset in state.datasets():
        ref = live_ref(state, dataset, MAIN)
        if ref is None:
            found.append(DatasetInfo(name, None, None, 0, 0))
            continue
        head = require_version(state, dataset, ref.target)
        # A head that came from elsewhere may have a number that is given to another version here.
        number = f"v{head.number}" if head.number else None
        found.append(DatasetInfo(name, number, str(head.id), head.files, head.size_bytes))
    return found


def refs(state: State, dataset: str) -> list[RefInfo]:
    """The branches, tags and aliases of a dataset, by name."""
    found = state.refs(require_dataset(state, dataset))
    return [RefInfo(KIND_NAMES[ref.kind], ref.name, str(ref.target)) for ref in found if not ref.deleted]


def set_ref(session: Session, kind: int, ref: str, name: str) -> RefResult:
    """Point a tag, alias or branch at what `ref` means. Nothing is written where it is there already."""
    parsed = parse_ref(ref)
    result: list[RefResult] = []

    def plan(state: State) -> tuple[Operation, ...] | None:
        found = session.resolve_ref(parsed, state)
        there = check_new_ref(state, found.dataset, kind, name, found.version.id)
        result[:] = [RefResult(name, str(found.version.id), None if there is None else str(there.target))]
        if there is not None and there.target == found.version.id:
            return None
        return (_setting(kind, name, found, there),)

    session.newest()
    session.log.append(plan, session.who(None))
    return result[0]


def _setting(kind: int, name: str, found: Resolved, there: RefState | None) -> Operation:
    dataset, target = found.dataset, found.version.id
    if kind == TAG:
        return TagCreate(dataset, name, target)
    if kind == ALIAS:
        return AliasSet(dataset, name, None if there is None else there.target, target)
    if there is not None:
        raise AlreadyExistsError(
            f"branch {name!r} is at {there.target} already; branches move by commits and `dataver merge`"
        )
    if name == MAIN:
        raise BadInputError("'main' is made by the first commit and moved by commits alone")
    return BranchSet(dataset, name, None, target)


def delete_ref(session: Session, kind: int, dataset: str, name: str) -> RefResult:
    """Delete a branch, tag or alias. The versions stay."""
    previous: list[str] = []

    def plan(state: State) -> tuple[Operation, ...]:
        dataset_id = require_dataset(state, dataset)
        ref = live_ref(state, dataset_id, name)
        if ref is None or ref.kind != kind:
            raise RefNotFoundError(f"{dataset} has no {KIND_NAMES[kind]} {name!r}")
        if kind == BRANCH and name == MAIN:
            raise BadInputError("'main' is never deleted; `dataver delete` deletes the dataset")
        previous[:] = [str(ref.target)]
        return (RefDelete(dataset_id, kind, name, ref.target),)

    session.newest()
    session.log.append(plan, session.who(None))
    return RefResult(name, None, previous[0])


def rename_dataset(session: Session, name: str, new_name: str) -> None:
    """Give a dataset another name; its id, and all that refers to it, stay."""
    check_dataset_name(new_name)

    def plan(state: State) -> tuple[Operation, ...]:
        dataset = require_dataset(state, name)
        if state.dataset(new_name) is not None:
            raise AlreadyExistsError(f"there is a dataset {new_name!r} already; nothing was renamed")
        return (DatasetRename(dataset, name, new_name),)

    session.newest()
    session.log.append(plan, session.who(None))


def delete_dataset(session: Session, name: str) -> None:
    """Take a dataset's name away."""

    def plan(state: State) -> tuple[Operation, ...]:
        return (DatasetDelete(require_dataset(state, name), name),)

    session.newest()
    session.log.append(plan, session.who(None))


def _last_entry(state: State, dataset: bytes) -> int:
    """The entry that made the newest version of a dataset, as far as its versions are there."""
    known = [version.entry for version in state.versions(dataset)]
    return max(known + [number for _, number in state.condemned(dataset)], default=0)


def undelete_dataset(session: Session, name: str) -> None:
    """Give the dataset that was last deleted under a name its name again.

    `RefNotFoundError` where its versions were collected since.
    """
    check_dataset_name(name)

    from dataver.relying import spare_versions

    def plan(state: State) -> tuple[Operation, ...]:
        gone = [dataset for dataset, had in state.deleted_datasets() if had == name]
        if not gone:
            raise RefNotFoundError(f"no deleted dataset was called {name!r}")
        if state.dataset(name) is not None:
            raise AlreadyExistsError(f"there is a dataset {name!r} again; rename it first")
        newest = max(gone, key=lambda dataset: _last_entry(state, dataset))
        return (*spare_versions(state, newest), DatasetRestore(newest, name))

    session.newest()
    session.log.append(plan, session.who(None))
