"""Drift between the tables of two versions, or of parts of them: from statistics, or from all rows.

Statistics are those that `Version.stats` gives: no data are read where they are at hand. Rows are read a
few columns at a time, batch by batch; at most some hundred MiB of their numbers are held, the rest is
sorted in a nameless temporary file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dataver
from dataver import tabular
from dataver.errors import BadInputError, DataverError, PathNotFoundError
from dataver.parts import Definition, SplitView, parse_node, tables_of
from dataver.paths import safe_spelling
from dataver.progress import Progress, Silent, observed
from dataver.tables.criteria import AUTO, Criteria, make_criteria
from dataver.tables.drift import ColumnDrift, DriftReport, DriftSide, compare_column, compare_schemas
from dataver.tables.profile import family
from dataver.trained_on import names_model, trained_on
from dataver.values import dataclass

if TYPE_CHECKING:
    import pyarrow as pa

    from dataver.repository import Repository
    from dataver.tables.profile import Profile
    from dataver.tables.rowwise import Taker
    from dataver.version import Version

POINTS = 1 << 14
"""So many points are kept of a distribution where files are taken together."""
COLUMNS_AT_ONCE = 16
"""So many columns are read together, or more of a wide table."""
GROUPS_MAX = 64
"""Files are opened so many times at most."""

Leaf = tuple[str, str]


def of_nodes(
    repository: Repository, a: str, b: str, path: str = "", *, by: Definition | None = None, **options: Any
) -> DriftReport:
    """See `Repository.drift`."""
    if names_model(b):
        raise BadInputError(f"{b} is no data: a model is the baseline, and goes before what is compared")
    nodes = [b] if names_model(a) else [a, b]
    sides: list[Version | SplitView] = []
    for node in nodes:
        ref, part = parse_node(node)
        version = repository.version(ref)
        sides.append(version if part is None else version.split(part, by, path=path or None))
    if by is not None and not any(isinstance(side, SplitView) for side in sides):
        raise BadInputError(
            f"a definition defines parts, and neither {a} nor {b} names one, as {b}:train does"
        )
    if len(sides) == 2:
        return between(sides[0], sides[1], path, **options)
    trained = trained_on(repository, a)
    return _compared(trained.data, sides[0], (trained.path, path), trained.model, **options)


def between(
    baseline: Version | SplitView, target: Version | SplitView, path: str = "", **options: Any
) -> DriftReport:
    """See `Version.drift`."""
    return _compared(baseline, target, (path, path), "", **options)


@observed("drift")
def _compared(
    baseline: Version | SplitView,
    target: Version | SplitView,
    paths: tuple[str, str],
    model: str,
    *,
    columns: Sequence[str] | str | None = None,
    metrics: Sequence[str] | str = AUTO,
    thresholds: Mapping[str, float] | float | None = None,
    exact: bool = False,
    compute: bool = True,
    progress: Progress | None = None,
) -> DriftReport:
    """`model` is what was trained on the baseline, if that is why: only what both have is compared then."""
    names = [columns] if isinstance(columns, str) else columns
    asked = _Asked(names, make_criteria(metrics, thresholds), model)
    watch = progress or Silent()
    if exact or isinstance(baseline, SplitView) or isinstance(target, SplitView):
        return _from_rows(_Rows(baseline, paths[0], watch), _Rows(target, paths[1], watch), asked)
    return _from_statistics((baseline, target), paths, asked, compute, watch)


@dataclass(frozen=True, slots=True)
class _Asked:
    """The columns that are asked for, all where it is None; how they are measured; and the model, if any."""

    names: Sequence[str] | None
    criteria: Criteria
    model: str


def _report(
    sides: Sequence[DriftSide],
    exact: bool,
    asked: _Asked,
    leaves: _Leaves,
    columns: Sequence[ColumnDrift],
    computed: int = 0,
) -> DriftReport:
    schema = compare_schemas(leaves.baseline, leaves.target)
    return DriftReport(
        sides[0], sides[1], exact, asked.criteria.to_json(), schema, tuple(columns),
        datetime.now(UTC), dataver.__version__, computed, asked.model, leaves.left_out,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Leaves:
    """The leaf columns of each side that are compared, and those that are not, as one side alone has them."""

    baseline: Sequence[Leaf]
    target: Sequence[Leaf]
    left_out: tuple[str, ...] = ()


def _leaves(baseline: Sequence[Leaf], target: Sequence[Leaf], asked: _Asked) -> _Leaves:
    """Those that were asked for. With a model, those that it was trained on and is asked with.

    Of these numbers are numbers, whole or not: what a service is sent says no more.
    """
    before, after = _chosen((baseline, target), asked.names)
    if not asked.model:
        return _Leaves(before, after)
    common = {name for name, _ in before} & {name for name, _ in after}
    if not common:
        raise BadInputError(f"nothing that {asked.model} was trained on is a column of the other side")
    types = dict(reversed(after))
    left_out = dict.fromkeys(name for name, _ in [*before, *after] if name not in common)
    return _Leaves(
        [(name, types[name] if family(kind) == family(types[name]) else kind) for name, kind in before
         if name in common],
        [leaf for leaf in after if leaf[0] in common],
        tuple(left_out),
    )  # fmt: skip


def _chosen(leaves: Sequence[Sequence[Leaf]], names: Sequence[str] | None) -> tuple[list[Leaf], list[Leaf]]:
    """The leaf columns that were asked for, by their names or those of what they are in, of each side."""
    if names is None:
        return list(leaves[0]), list(leaves[1])
    known = dict.fromkeys(name for side in leaves for name, _ in side)
    for name in names:
        if not any(_within(leaf, name) for leaf in known):
            shown = ", ".join(list(known)[:10])
            more = " …" if len(known) > 10 else ""
            raise PathNotFoundError(f"there is no column {name!r:.100}; there are {shown}{more}")
    chosen = [[leaf for leaf in side if any(_within(leaf[0], name) for name in names)] for side in leaves]
    return chosen[0], chosen[1]


def _within(leaf: str, name: str) -> bool:
    return leaf == name or leaf.startswith((f"{name}.", f"{name}[]"))


# From statistics


def _from_statistics(
    versions: tuple[Version, Version],
    places: tuple[str, str],
    asked: _Asked,
    compute: bool,
    watch: Progress,
) -> DriftReport:
    from dataver.tables.profile import of_statistics

    sides, profiles, computed = [], [], 0
    for version, path in zip(versions, places, strict=True):
        paths = tabular.table_paths(version, path)
        found = tabular.file_statistics(version, paths, compute=False)
        lacking = [table for table, part in zip(paths, found, strict=True) if part is None]
        if lacking and not compute:
            raise BadInputError(
                f"{version.name} has no statistics at hand of {len(lacking):,} files, among them "
                f"{safe_spelling(lacking[0])}; `dataver stats {version.name}` computes them"
            )
        if lacking:
            computed += len(lacking)
            watch.begin(f"computing statistics of {version.name}", len(lacking))
            try:
                found = tabular.file_statistics(version, paths, compute=True)
            finally:
                watch.end()
        table = tabular.as_one_table(version, paths, found, POINTS)
        sides.append(DriftSide(version.name, version.id, path, table.files, table.rows))
        profiles.append([of_statistics(column) for column in table.columns])
    known = [[(column.name, column.type) for column in side] for side in profiles]
    leaves = _leaves(known[0], known[1], asked)
    before, after = ({column.name: column for column in reversed(side)} for side in profiles)
    common = [name for name in dict.fromkeys(name for name, _ in leaves.baseline) if name in after]
    columns = [compare_column(before[name], after[name], asked.criteria) for name in common]
    return _report(sides, False, asked, leaves, columns, computed)


# From rows


class _Rows:
    """The rows of one side, read some columns at a time."""

    def __init__(self, side: Version | SplitView, path: str, watch: Progress) -> None:
        from dataver.tables.leaves import leaf_types

        self.side = side
        self._watch = watch
        if isinstance(side, SplitView):
            tables = tables_of(side.version, side.definition)
            self.version, self._path, self.schema = side.version, side.definition.path, tables.schema
            self._tables = list(tables.files)
        else:
            self.version, self._path, self.schema = side, path, tabular.schema(side, path)
            self._tables = tabular.table_paths(side, path)
        self.leaves = {
            field.name: list(leaf_types(field.name, field.type)) for field in reversed(list(self.schema))
        }
        self.leaf_names = [
            (name, str(kind)) for field in self.schema for name, kind in self.leaves[field.name]
        ]
        self.rows = 0

    def describe(self) -> DriftSide:
        """What is said of the side; `rows` counts once some columns were read."""
        split = self.side.digest if isinstance(self.side, SplitView) else None
        return DriftSide(self.side.name, self.version.id, self._path, len(self._tables), self.rows, split)

    def profiles(self, names: Sequence[str]) -> dict[str, Profile]:
        """The profiles of the leaves of these columns. What cannot be read has a reason instead."""
        import pyarrow as pa

        from dataver.tables.footer import first_line
        from dataver.tables.profile import Profile

        try:
            return self._read(names)
        except DataverError:
            raise
        except (pa.ArrowException, OSError, ValueError, NotImplementedError, MemoryError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # a full disk; pyarrow sets none
                raise
            if len(names) == 1:
                reason = f"it cannot be read: {first_line(error)}"
                return {
                    name: Profile(name, str(kind), 0, 0, reason=reason)
                    for name, kind in self.leaves[names[0]]
                }
        # One by one, to see which one fails.
        found: dict[str, Profile] = {}
        for name in names:
            found |= self.profiles([name])
        return found

    def _read(self, names: Sequence[str]) -> dict[str, Profile]:
        from dataver.tables.leaves import leaf_arrays
        from dataver.tables.rowwise import ROOM_VALUES, taker_of

        count = sum(len(self.leaves[name]) for name in names)
        room = max(ROOM_VALUES // max(count, 1), 1 << 12)
        takers: list[list[Taker]] = [
            [taker_of(name, kind, room) for name, kind in self.leaves[column]] for column in names
        ]
        rows = 0
        for batch in self._batches(names):
            if batch.schema.names != list(names):
                raise ValueError("its name is that of another column too")
            rows += batch.num_rows
            for array, into in zip(batch.columns, takers, strict=True):
                for leaf, taker in zip(leaf_arrays(array), into, strict=True):
                    taker.add(leaf)
        self.rows = rows
        profiles = [taker.finish() for into in takers for taker in into]
        return {profile.name: profile for profile in profiles}

    def _batches(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        self._watch.begin(f"reading rows of {self.side.name}", len(self._tables))
        try:
            if isinstance(self.side, SplitView):
                yield from self.side.to_batches(names)
                return
            for table in self._tables:
                yield from tabular.batches(self.version, table, names)
                self._watch.advance(1)
        finally:
            self._watch.end()


def _from_rows(a: _Rows, b: _Rows, asked: _Asked) -> DriftReport:
    leaves = _leaves(a.leaf_names, b.leaf_names, asked)
    wanted = {name for name, _ in leaves.baseline} & {name for name, _ in leaves.target}
    columns = [
        name
        for name, below in a.leaves.items()
        if name in b.leaves and any(leaf in wanted for leaf, _ in below)
    ]
    found: dict[str, ColumnDrift] = {}
    step = max(COLUMNS_AT_ONCE, -(-len(columns) // GROUPS_MAX))
    for start in range(0, max(len(columns), 1), step):
        group = columns[start : start + step]
        before, after = a.profiles(group), b.profiles(group)
        for name in before:
            if name in wanted and name in after:
                found[name] = compare_column(before[name], after[name], asked.criteria)
    order = [name for name, _ in leaves.baseline if name in found]
    sides = [a.describe(), b.describe()]
    return _report(sides, True, asked, leaves, [found[name] for name in dict.fromkeys(order)])
