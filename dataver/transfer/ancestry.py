"""How the versions of one dataset descend from each other, as both repositories know it together."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from enum import Enum

from dataver.digest import Digest
from dataver.log.state import VersionState
from dataver.transfer.side import Side
from dataver.values import dataclass


class Relation(Enum):
    """How the head of a branch in the source stands to that in the receiver."""

    SAME = "same"
    FORWARD = "forward"
    BEHIND = "behind"
    DIVERGED = "diverged"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The versions to copy, parents before their children, and the parents that are left out."""

    versions: tuple[Digest, ...]
    absent: tuple[Digest, ...]


class Ancestry:
    """The versions of one dataset. Records are read once, from whichever side has them."""

    def __init__(self, dataset: bytes, source: Side, target: Side) -> None:
        self._dataset = dataset
        self._source = source
        self._target = target
        self._reachable: set[Digest] | None = None

    def prefetch(self, pool: Executor) -> None:
        """Read the records that the receiver lacks, many at a time: else each would wait for the last."""
        known = {version.id for version in self._target.state.versions(self._dataset)}
        lacking = [v.id for v in self._source.state.versions(self._dataset) if v.id not in known]
        for _ in pool.map(self._source.record, lacking):
            pass

    def parents(self, version: Digest) -> tuple[Digest, ...]:
        """The parents of a version; none where neither side has it."""
        for side in (self._source, self._target):
            if side.state.version(self._dataset, version) is not None:
                return side.record(version).parents
        return ()

    def ancestors(self, starts: Iterable[Digest]) -> set[Digest]:
        """The versions and all that they descend from, also those that neither side has."""
        seen = set(starts)
        waiting = list(seen)
        while waiting:
            parents = [parent for parent in self.parents(waiting.pop()) if parent not in seen]
            seen.update(parents)
            waiting.extend(parents)
        return seen

    def descends(self, version: Digest, ancestor: Digest) -> bool:
        """Whether a version is another one or descends from it, as far as both sides know."""
        seen, waiting = {version}, deque([version])
        while waiting:
            one = waiting.popleft()
            if one == ancestor:
                return True
            for parent in self.parents(one):
                if parent not in seen:
                    seen.add(parent)
                    waiting.append(parent)
        return False

    def relation(self, here: Digest, there: Digest) -> Relation:
        """How `there`, a head of the source, stands to `here`, one of the receiver."""
        if here == there:
            return Relation.SAME
        if self._knows(self._source, here) and self.descends(there, here):
            return Relation.FORWARD
        if self._knows(self._target, there) and self.descends(here, there):
            return Relation.BEHIND
        return Relation.DIVERGED

    def is_whole(self, version: Digest) -> bool:
        """Whether the receiver has a version with all its contents: a name of its leads there.

        What no name leads to may have been collected, though the log still knows of it.
        """
        found = self._target.state.version(self._dataset, version)
        if found is None:
            return False
        if found.number and self._target.state.numbered(self._dataset, found.number) == version:
            return True
        return version in self._named() or version in self._reached()

    def wanted(self, heads: Mapping[Digest, int | None], *, fill: bool) -> Wanted:
        """What to copy for `heads`, each as many versions back as it says (None: all).

        With `fill` also what the receiver was spared earlier. What the source itself was spared is
        left out.
        """
        starts = dict(heads)
        if fill:
            starts |= dict.fromkeys(self._target.state.absent(self._dataset), None)
        found: dict[Digest, tuple[Digest, ...]] = {}
        reached: dict[Digest, int | None] = {}
        waiting = deque(starts.items())
        while waiting:
            version, depth = waiting.popleft()
            if version in reached:
                known = reached[version]
                if known is None or (depth is not None and depth <= known):
                    continue
            reached[version] = depth
            if self.is_whole(version) or self._source.state.version(self._dataset, version) is None:
                continue
            found[version] = self._source.record(version).parents
            if depth is None or depth > 1:
                waiting.extend((parent, None if depth is None else depth - 1) for parent in found[version])
        absent = {
            parent
            for parents in found.values()
            for parent in parents
            if parent not in found and self._target.state.version(self._dataset, parent) is None
        }
        return Wanted(_parents_first(found), tuple(sorted(absent)))

    def source_version(self, version: Digest) -> VersionState:
        """What the source knows of a version that it has."""
        found = self._source.state.version(self._dataset, version)
        assert found is not None
        return found

    def _knows(self, side: Side, version: Digest) -> bool:
        """Whether a side can tell who descends from a version."""
        return side.state.version(self._dataset, version) is not None or side.state.is_absent(
            self._dataset, version
        )

    def _named(self) -> set[Digest]:
        return {ref.target for ref in self._target.state.refs(self._dataset) if not ref.deleted}

    def _reached(self) -> set[Digest]:
        """What the receiver's names lead to there, past nothing that it was spared."""
        if self._reachable is None:
            seen = self._named()
            waiting = list(seen)
            while waiting:
                version = waiting.pop()
                if self._target.state.version(self._dataset, version) is not None:
                    parents = [parent for parent in self.parents(version) if parent not in seen]
                    seen.update(parents)
                    waiting.extend(parents)
            self._reachable = seen
        return self._reachable


def _parents_first(found: Mapping[Digest, tuple[Digest, ...]]) -> tuple[Digest, ...]:
    ordered: dict[Digest, None] = {}
    for start in found:
        path = [(start, iter(found[start]))]
        entered = {start}
        while path:
            version, parents = path[-1]
            following = next(
                (p for p in parents if p in found and p not in ordered and p not in entered), None
            )
            if following is not None:
                entered.add(following)
                path.append((following, iter(found[following])))
            else:
                ordered.setdefault(version)
                path.pop()
    return tuple(ordered)
