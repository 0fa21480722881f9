"""What differs between two versions of a repository, and what they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from dataver.progress import Progress
from dataver.results import Changes

if TYPE_CHECKING:
    import pyarrow

    from dataver.overlap_results import OverlapResult
    from dataver.parts import Definition
    from dataver.repository import Repository
    from dataver.tables.changes import TableChange
    from dataver.tables.drift import DriftReport


class Comparisons:
    """The part of `Repository` that compares versions; it delegates all."""

    @property
    def _repository(self) -> Repository:
        return cast("Repository", self)

    def diff(self, a: str, b: str) -> Changes:
        """What changed from `a` to `b`."""
        from dataver.history import compare

        state = self._repository.session.state()
        old, new = self._repository.session.resolve(a, state), self._repository.session.resolve(b, state)
        return compare(self._repository.session, state, old.version, new.version)

    def diff_tables(self, a: str, b: str, *, compute: bool = False) -> list[TableChange]:
        """How the Parquet files that were modified from `a` to `b` changed: schema and row counts.

        And what moved in their columns, where statistics of both sides are at hand; `compute` reads
        the files for them. Files that are not Parquet on both sides are left out.
        """
        from dataver.tabular import diff_tables

        return diff_tables(
            self._repository.version(a),
            self._repository.version(b),
            self.diff(a, b).modified,
            compute=compute,
        )

    def diff_rows(self, a: str, b: str, *, key: Sequence[str] | str, path: str = "") -> pyarrow.Table:
        """The rows of Parquet files that were added, removed or changed from `a` to `b`, by their key.

        Columns: `change`, those of `key`, `columns` (the names of what differs), `before`, `after`.
        Row groups that differ are read, at `path` if given. `BadInputError` for a key that is none, and for
        a `path` that names a changed file that is not Parquet; below a folder such files are left out.
        """
        from dataver.tabular import diff_rows

        return diff_rows(self._repository.version(a), self._repository.version(b), self.diff(a, b), key, path)

    def overlap(
        self,
        a: str,
        b: str,
        *,
        key: Sequence[str] | str | None = None,
        path: str = "",
        by: Definition | None = None,
    ) -> OverlapResult:
        """What two versions `REF`, or parts of them `REF:PART`, both have: files, chunks, and rows by `key`.

        Equal files are known by their digests and never read; of other Parquet files, those at `path`,
        the columns of the key alone are. No row counts as shared unless its key is equal. Without
        `key`, parts that were made by a key are compared by it. `by` defines the parts, as for
        `Version.split`.
        """
        from dataver.overlap import overlap

        return overlap(self._repository, a, b, key, path, by)

    def drift(
        self,
        a: str,
        b: str,
        path: str = "",
        *,
        columns: Sequence[str] | str | None = None,
        metrics: Sequence[str] | str = "auto",
        thresholds: Mapping[str, float] | float | None = None,
        exact: bool = False,
        compute: bool = True,
        by: Definition | None = None,
        progress: Progress | None = None,
    ) -> DriftReport:
        """How far the tables of `b` moved away from those of the baseline `a`. See `Version.drift`.

        Either is a `REF` or a part `REF:PART`, of which the rows are read; `by` as for `Version.split`.
        `a` may be a model, as `model:NAME@vN`, which means what it was trained on; `path` is of `b` alone
        then, and columns that one side lacks are left out.
        """
        from dataver.drift import of_nodes

        return of_nodes(
            self._repository, a, b, path, columns=columns, metrics=metrics, thresholds=thresholds,
            exact=exact, compute=compute, by=by, progress=progress,
        )  # fmt: skip
