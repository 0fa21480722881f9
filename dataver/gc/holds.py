"""Holds: named reasons to keep a version, whatever else lets it go."""

from __future__ import annotations

from dataver.digest import Digest
from dataver.errors import AlreadyExistsError, RefNotFoundError
from dataver.format.operations import Hold, Operation
from dataver.log.state import State
from dataver.refs import check_ref_name, parse_ref
from dataver.results import RefResult
from dataver.session import Session


def hold(session: Session, ref: str, name: str) -> RefResult:
    """Keep a version under a name. `AlreadyExistsError` where the name keeps another one."""
    check_ref_name(name)
    result: list[RefResult] = []

    def plan(state: State) -> tuple[Operation, ...] | None:
        found = session.resolve_ref(parse_ref(ref), state)
        there = dict(state.holds()).get(name)
        if there is not None and there != found.version.id:
            raise AlreadyExistsError(
                f"hold {name!r} keeps version {there} already; choose another name, or release it first"
            )
        result[:] = [RefResult(name, str(found.version.id), None if there is None else str(there))]
        return None if there is not None else (Hold(name, found.version.id),)

    session.newest()
    session.log.append(plan, session.who(None))
    return result[0]


def release(session: Session, name: str) -> RefResult:
    """Let a hold go. `RefNotFoundError` where there is none of this name."""
    previous: list[Digest] = []

    def plan(state: State) -> tuple[Operation, ...]:
        there = dict(state.holds()).get(name)
        if there is None:
            raise RefNotFoundError(f"there is no hold {name!r}; `dataver hold` lists them")
        previous[:] = [there]
        return (Hold(name, None),)

    session.newest()
    session.log.append(plan, session.who(None))
    return RefResult(name, None, str(previous[0]))


def holds(session: Session) -> list[tuple[str, str, str]]:
    """The holds by name, with the dataset and the id of the version that each keeps."""
    state = session.state()
    found = []
    for name, target in state.holds():
        of = [dataset for dataset, id in state.datasets() if state.version(id, target) is not None]
        found.append((name, ", ".join(of), str(target)))
    return found
