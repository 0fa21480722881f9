"""Is everything that versions need there, and what it was? Reads the store itself and no cache."""

from __future__ import annotations

from dataver.progress import Progress, Silent
from dataver.results import VerifyReport
from dataver.session import Session
from dataver.verify.run import Run

__all__ = ["verify"]


def verify(
    session: Session, ref: str | None, *, deep: bool = False, progress: Progress | None = None
) -> VerifyReport:
    """Check what `ref` reaches, or the whole repository, and report every damaged object.

    Not deep: the log adds up, and all that is reachable exists, is well formed and can be found.
    `deep` reads every byte besides and compares every digest; files that stayed where they are
    are read there. Damage is reported and never raised; what is raised is a ref that means
    nothing, a newer format, and a store that fails.
    """
    run = _run(session, ref, deep, progress or Silent())
    if run.missing and run.moved_on():
        # Others may have collected meanwhile what the state of then named.
        run = _run(session, ref, deep, progress or Silent())
    return run.findings.report()


def _run(session: Session, ref: str | None, deep: bool, progress: Progress) -> Run:
    run = Run(session, deep, progress)
    if ref is None:
        run.everything()
    else:
        run.one(ref)
    return run
