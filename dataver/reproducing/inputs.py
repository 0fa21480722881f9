"""The versions that a run read, for the run that repeats it: by id, whatever names mean today."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dataver.errors import BadInputError, DamagedError, DataverError, RefNotFoundError
from dataver.format.run_record import RunInput, RunRecord
from dataver.parts import parse_node
from dataver.pins import same
from dataver.refs import is_exact, parse_ref
from dataver.repository import Repository
from dataver.reproduced import Named

__all__ = ["Places", "check_out", "damage_of", "declared", "entries", "names"]

Opener = Callable[[str], Repository]


class Places:
    """Where the versions of a run are: in the repository of its record, or in those they were read from."""

    def __init__(self, repository: Repository, opener: Opener) -> None:
        self._repository = repository
        self._opener = opener
        self._others: dict[str, Repository] = {}

    def of(self, given: RunInput) -> Repository:
        """The repository that has an input. `RefNotFoundError` where none does, `DamagedError` if changed."""
        try:
            return _having(self._repository, given)
        except RefNotFoundError as error:
            if given.repository == self._repository.id or not given.url:
                raise _gone(given) from error
        try:
            if given.url not in self._others:
                self._others[given.url] = self._opener(given.url)
            return _having(self._others[given.url], given)
        except DamagedError:
            raise
        except DataverError as error:
            raise _gone(given, f": {error}") from error

    def data(self, record: RunRecord) -> Repository:
        """The repository that the command is to find: the one that has all inputs, if one has."""
        found = {place.url: place for place in map(self.of, record.inputs)}
        return next(iter(found.values())) if len(found) == 1 else self._repository


def _having(repository: Repository, given: RunInput) -> Repository:
    state = repository.session.state()
    found = repository.session.resolve_ref(parse_ref(f"{given.dataset}@{given.version}"), state)
    tree = str(repository.session.record(found.version.id, state).tree)
    if given.tree and tree != given.tree:
        raise DamagedError(
            f"version {given.version} of {given.dataset!r} has the tree {tree} in {repository.url}, and the "
            f"run read {given.tree}; run `dataver verify`"
        )
    return repository


def _gone(given: RunInput, why: str = "") -> RefNotFoundError:
    number = f" (v{given.number})" if given.number else ""
    return RefNotFoundError(
        f"version {given.version}{number} of {given.dataset!r}, which the run read from "
        f"{given.url or 'an unknown place'}, is not there any more{why}; it was deleted or let go. `dataver "
        "gc --restore` brings back what no sweep took, `dataver pull` what another repository has"
    )


def names(record: RunRecord, places: Places) -> list[Named]:
    """What the names that the run asked for meant, in every repository that may be asked."""
    found: list[Named] = []
    for given in record.inputs:
        try:
            ref = parse_ref(given.ref)
        except BadInputError:
            continue  # It was asked for by a digest of something else; there is no name to hold.
        if not is_exact(ref):
            ids = dict.fromkeys([given.repository, places.of(given).id])
            found += [Named(id, given.dataset, str(same(ref)), given.version) for id in ids]
    return found


def entries(record: RunRecord, repositories: Iterable[tuple[Repository, int | None]]) -> dict[str, int]:
    """The entry of each log at which names are looked up: the newest one when the run began."""
    found: dict[str, int] = {}
    for repository, entry in repositories:
        try:
            then = repository.session.log.number_at(record.started_us)
        except BadInputError:
            continue  # It is younger than the run: a copy.
        # Who records a run later than it was gives it a late entry; a clock that is wrong, a wrong time.
        found[repository.id] = then if entry is None else min(then, entry)
    return found


def declared(record: RunRecord) -> list[str]:
    """The options `--input` of the run, with the ids of the versions in place of names."""
    left = list(record.inputs)
    found = []
    for text in record.options.get("inputs", ()):
        node, _, role = str(text).partition("=")
        ref, part = parse_node(node)
        given = next((one for one in left if (one.ref, one.role) == (ref, role or "input")), None)
        if given is not None:
            left.remove(given)
            ref = f"{given.dataset}@{given.version}"
        found.append(f"{ref}{f':{part}' if part else ''}{f'={role}' if role else ''}")
    return found


def check_out(record: RunRecord, places: Places, dataset: str, target: str) -> None:
    """Write the files of the version of a dataset that the run read into a folder."""
    found = {one.version: one for one in record.inputs if one.dataset == dataset}
    if len(found) != 1:
        read = ", ".join(sorted({one.dataset for one in record.inputs})) or "none"
        raise BadInputError(
            f"the run read {len(found)} versions of {dataset[:200]!r}, so which one is meant is not clear; "
            f"it read {read}"
        )
    for version, given in found.items():
        places.of(given).checkout(f"{dataset}@{version}", target)


def damage_of(record: RunRecord, places: Places) -> str | None:
    """What is damaged of the versions that the run read, every byte of which is read; None for nothing."""
    for given in record.inputs:
        repository = places.of(given)
        report = repository.verify(f"{given.dataset}@{given.version}", deep=True)
        for damage in report.damaged:
            harm = next(iter(damage.harms), None)
            path = "" if harm is None or not harm.path else f", {harm.path}"
            return f"{given.dataset}@{given.version[:12]}{path}: {damage.reason}"
    return None
