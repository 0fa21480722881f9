"""What keeps a repository healthy: collection, retention, verification, a look at the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from dataver.progress import Progress, observed
from dataver.results import Check, RefResult, VerifyReport

if TYPE_CHECKING:
    from dataver.erasure import EraseReport
    from dataver.gc.prune import PruneReport, Retention
    from dataver.gc.report import GcReport
    from dataver.repository import Repository

GRACE_S = 7 * 86_400.0
"""How long what is marked waits for its sweep where nobody says how long."""


class Upkeep:
    """The part of `Repository` that looks after it; it delegates all."""

    @property
    def _repository(self) -> Repository:
        return cast("Repository", self)

    @observed("gc")
    def gc(
        self, *, yes: bool = False, grace_s: float = GRACE_S, progress: Progress | None = None
    ) -> GcReport:
        """Mark what nothing refers to, and delete what was marked longer ago than the grace, in seconds.

        Without `yes` it only says what it would do. What a branch, tag, alias, number, run or hold leads
        to stays. Others may commit, push and read meanwhile: no data that anything leads to is lost,
        whatever the grace. `DamagedError` where anything cannot be read; nothing is collected then.
        """
        from dataver.gc import collect

        return collect(self._repository.session, yes=yes, grace_s=grace_s, progress=progress)

    def gc_restore(self) -> GcReport:
        """Take all marks back that are not swept, also of versions that were pruned."""
        from dataver.gc import restore

        return restore(self._repository.session)

    @observed("prune")
    def prune(self, dataset: str, keep: Retention, *, yes: bool = False) -> PruneReport:
        """Let versions of `main` go that `keep` does not name; without `yes` only say which.

        Never what a branch ends at, a tag, an alias or a hold names, or a run read or made.
        """
        from dataver.gc.prune import prune

        return prune(self._repository.session, dataset, keep, yes=yes)

    def hold(self, ref: str, name: str) -> RefResult:
        """Keep a version under a name, whatever else lets it go. `AlreadyExistsError` if it keeps another."""
        from dataver.gc.holds import hold

        return hold(self._repository.session, ref, name)

    def release(self, name: str) -> RefResult:
        """Let a hold go."""
        from dataver.gc.holds import release

        return release(self._repository.session, name)

    @observed("erase")
    def erase(
        self,
        ref: str,
        file: str,
        *,
        reason: str,
        all_holders: bool = False,
        yes: bool = False,
        author: str | None = None,
        progress: Progress | None = None,
    ) -> EraseReport:
        """Erase the bytes of a file of `ref`, by its path or its digest, for good; without `yes` only say so.

        They go from every version and cache at once, and nobody can bring them back. Chunks that other
        files have too stay for those, unless `all_holders` erases these files as well.
        """
        from dataver.erasure import erase

        return erase(
            self._repository.session, ref, file,
            reason=reason, all_holders=all_holders, yes=yes, author=author, progress=progress,
        )  # fmt: skip

    @observed("verify")
    def verify(
        self,
        ref: str | None = None,
        *,
        deep: bool = False,
        part: str | None = None,
        progress: Progress | None = None,
    ) -> VerifyReport:
        """Check what `ref` reaches, or the whole repository; `deep` reads and compares every byte.

        `part` is `K/N`: of packs and whole files a deep verification reads one part of N. All parts together,
        one after the other, read everything, whatever is added between.
        """
        from dataver.verify import Part, verify

        chosen = None if part is None else Part.parse(part)
        return verify(self._repository.session, ref, deep=deep, part=chosen, progress=progress)

    def doctor(self) -> list[Check]:
        """Check the environment and the repository, in seconds."""
        from dataver.doctor import checks

        return checks(self._repository.session)
