"""What a repository knows of runs and models, and of what was made of what."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from dataver.progress import Progress

if TYPE_CHECKING:
    from dataver.lineage.audit import AuditReport
    from dataver.lineage.graph import Lineage
    from dataver.lineage.listing import ModelInfo, RunInfo
    from dataver.lineage.who_used import WhoUsed
    from dataver.repository import Repository


class RunQueries:
    """The part of `Repository` that tells of runs; it delegates all."""

    @property
    def _repository(self) -> Repository:
        return cast("Repository", self)

    def runs(self) -> Iterator[RunInfo]:
        """The runs that are recorded here, newest first."""
        from dataver.lineage.listing import run_infos
        from dataver.lineage.records import Records

        session = self._repository.session
        state = session.state()
        return run_infos(state, Records(session, state))

    def run(self, run: str) -> RunInfo:
        """One run, by its id or the first digits of it. `RefNotFoundError` where there is none."""
        from dataver.lineage.listing import run_info
        from dataver.lineage.records import Records, find_run

        session = self._repository.session
        state = session.state()
        return run_info(state, Records(session, state), find_run(state, run))

    def models(self, name: str | None = None) -> Iterator[ModelInfo]:
        """The versions of a model, or of all models, by name and number."""
        from dataver.lineage.listing import model_infos
        from dataver.lineage.records import Records

        session = self._repository.session
        state = session.state()
        return model_infos(state, Records(session, state), name)

    def lineage(self, node: str, *, up: bool = True, down: bool = True, depth: int | None = None) -> Lineage:
        """What a node came from, and what came of it, so many edges far.

        A node is `REF`, `REF:PART`, `model:NAME@vN`, `run:ID`, `file:REF!PATH`, or what an integration
        knows.
        """
        from dataver.lineage.graph import lineage

        return lineage(self._repository.session, node, up=up, down=down, depth=depth)

    def who_used(self, what: str) -> WhoUsed:
        """The runs and models that saw something: a file on disk, `REF!PATH`, a version, or a digest."""
        from dataver.lineage.who_used import who_used

        return who_used(self._repository.session, what)

    def audit(
        self,
        model: str | os.PathLike[str],
        *,
        verify: bool = False,
        rows: bool = False,
        tracker: bool = False,
        depth: int | None = None,
        progress: Progress | None = None,
    ) -> AuditReport:
        """Trace a model to what it was made of. What is missing or changed is in the report, and no error.

        `model` is `NAME@vN`, `run:ID`, the model's folder or file, or what an integration knows. `verify`
        reads every byte of the data, and of the model's files that are at hand; `rows`, as `verify`, counts
        the rows of parts and compares their keys; `tracker` asks the trackers that the record names.
        """
        from dataver.lineage.audit import audit

        return audit(
            self._repository, os.fspath(model),
            verify=verify, rows=rows, tracker=tracker, depth=depth, progress=progress,
        )  # fmt: skip
