"""The packs that hold given objects, found by their footers: also copies that no index segment names."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor

from dataver.digest import Digest, split_digests
from dataver.errors import DamagedError, NewerFormatError, ObjectMissingError
from dataver.format.pack import PackKind
from dataver.packs import read_footer
from dataver.progress import Progress
from dataver.session import Session
from dataver.verify.workers import in_order

FOOTERS_IN_FLIGHT = 64


Wanted = Callable[[PackKind], Collection[bytes]]
"""What is looked for in packs of a kind."""


class Footers:
    """What the footers of packs have of what is looked for; each is read once, unless more is looked for.

    `unread` are those of packs that have none that can be read.
    """

    def __init__(self, session: Session, progress: Progress) -> None:
        self._session = session
        self._progress = progress
        self._wanted: dict[PackKind, frozenset[bytes]] = {kind: frozenset() for kind in PackKind}
        self._has_any: dict[Digest, tuple[PackKind, frozenset[bytes]]] = {}
        self.unread: dict[Digest, str] = {}

    def holding(self, packs: Collection[Digest], wanted: Wanted) -> list[Digest]:
        """Those of these packs that have any of the digests that are wanted of their kind, sorted."""
        asked = {kind: frozenset(wanted(kind)) for kind in PackKind}
        if not all(self._wanted[kind] >= asked[kind] for kind in PackKind):
            self._wanted, self._has_any, self.unread = asked, {}, {}
        new = [name for name in packs if name not in self._has_any and name not in self.unread]
        self._progress.begin("searching packs", len(new))
        try:
            with ThreadPoolExecutor(self._session.readers(), thread_name_prefix="dataver-footers") as pool:
                for name, found in zip(new, in_order(pool, self._read, new, FOOTERS_IN_FLIGHT), strict=True):
                    if found is not None:
                        self._has_any[name] = found
                    self._progress.advance(1)
        finally:
            self._progress.end()
        found_in = ((name, self._has_any[name]) for name in packs if name in self._has_any)
        return sorted(name for name, (kind, found) in found_in if not asked[kind].isdisjoint(found))

    def _read(self, name: Digest) -> tuple[PackKind, frozenset[bytes]] | None:
        try:
            footer, _ = read_footer(self._session.store, name)
        except ObjectMissingError:
            return PackKind.STATE, frozenset()  # Deleted since it was listed.
        except (DamagedError, NewerFormatError) as error:
            self.unread[name] = str(error)
            return None
        return footer.kind, self._wanted[footer.kind].intersection(split_digests(footer.digests))
