"""Where the data of a version came from, as its record says, and the records of those before it."""

from __future__ import annotations

from typing import Any

from dataver.digest import Digest
from dataver.format.provenance import DerivedFrom, Provenance, Source, provenance_of
from dataver.refs import Resolved, is_absent
from dataver.session import Session
from dataver.store.cached import CachedStore
from dataver.values import dataclass

QUICK_VERSIONS_MAX = 100
QUICK_VERSIONS_MAX_FAR = 10


@dataclass(frozen=True, slots=True)
class Origins:
    """What holds for a version: `versions` are the ids of those whose records say so, nearest first.

    `whole` is False where not all was looked at, so that there may be more to say: the history was copied
    in part, or is longer than the caller wanted to wait for.
    """

    sources: tuple[Source, ...] = ()
    derived_from: tuple[DerivedFrom, ...] = ()
    versions: tuple[str, ...] = ()
    whole: bool = True

    @property
    def said(self) -> Provenance:
        """All of it as one record says it; partial where there may be more to say."""
        return Provenance(self.sources, self.derived_from, partial=not self.whole)

    def to_json(self) -> dict[str, Any]:
        """`{"sources": […], "derived_from": […], "sources_of": [id…], "sources_whole": bool}`."""
        return {
            "sources": [source.to_json() for source in self.sources],
            "derived_from": [entry.to_json() for entry in self.derived_from],
            "sources_of": list(self.versions),
            "sources_whole": self.whole,
        }


def quick_origins(session: Session, found: Resolved) -> Origins:
    """`origins` as far back as costs no time to speak of: of a remote store each record is a request."""
    is_far = isinstance(session.store, CachedStore)
    return origins(session, found, QUICK_VERSIONS_MAX_FAR if is_far else QUICK_VERSIONS_MAX)


def origins(session: Session, found: Resolved, versions_max: int | None = None) -> Origins:
    """Where the data of a version came from: what its record says, or the records of its nearest ancestors.

    A record that says something speaks for all of its version, unless it is partial: then what holds
    for its parents is added. Costs a record for each version that is looked at, `versions_max` at most.
    """
    state = session.state()
    sources: dict[Source, None] = {}
    derived: dict[DerivedFrom, None] = {}
    versions: list[str] = []
    whole = True
    seen = {found.version.id}
    waiting = [found.version.id]
    while waiting:
        if versions_max is not None and len(seen) > versions_max:
            whole = False
            break
        near: list[Digest] = []
        for id in waiting:
            if is_absent(state, found.dataset, id):
                whole = False
                continue
            record = session.record(id, state)
            said = provenance_of(record.extensions, f"version {id}")
            if said is not None:
                versions.append(str(id))
                sources.update(dict.fromkeys(said.sources))
                derived.update(dict.fromkeys(said.derived_from))
            if said is None or said.partial:
                parents = [parent for parent in dict.fromkeys(record.parents) if parent not in seen]
                seen.update(parents)
                near += parents
        waiting = near
    return Origins(tuple(sources), tuple(derived), tuple(versions), whole)
