"""Is everything that versions need there, and what it was? Reads the store itself and no cache."""

from __future__ import annotations

from dataclasses import replace

from dataver.errors import BadInputError
from dataver.progress import Progress, Silent
from dataver.results import VerifyReport
from dataver.session import Session
from dataver.verify.part import ALL, Part
from dataver.verify.run import Run

__all__ = ["Part", "verify"]

AGAIN_MAX = 4
"""So often a verification that missed objects begins again, where others made entries meanwhile."""


def verify(
    session: Session,
    ref: str | None,
    *,
    deep: bool = False,
    part: Part | None = None,
    progress: Progress | None = None,
) -> VerifyReport:
    """Check what `ref` reaches, or the whole repository, and report every damaged object.

    Not deep: the log adds up, and all that is reachable exists, is well formed and can be found.
    `deep` reads every byte besides and compares every digest; files that stayed where they are
    are read there. With a `part` it reads that part alone of the packs and whole files, and checks
    the rest as without `deep`; log, index and manifests are checked with each part. Damage is
    reported and never raised; what is raised is a ref that means nothing, a newer format, and a
    store that fails.
    """
    if part is not None and not deep:
        raise BadInputError("a part is of what a deep verification reads: give `deep` as well")
    run = _run(session, ref, deep, part or ALL, progress or Silent())
    for _ in range(AGAIN_MAX):
        if not (run.findings.damaged and run.missing and run.moved_on()):
            break
        # What the state of then named may have been deleted while it was read.
        run = _run(session, ref, deep, part or ALL, progress or Silent())
    report = run.findings.report()
    return report if part is None else replace(report, part=str(part))


def _run(session: Session, ref: str | None, deep: bool, part: Part, progress: Progress) -> Run:
    run = Run(session, deep, progress, part)
    if ref is None:
        run.everything()
    else:
        run.one(ref)
    return run
