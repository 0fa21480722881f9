"""What a verification has seen: objects, bytes, and what is wrong with which of them."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dataver.chunk_index import MapsObjects
from dataver.errors import ObjectMissingError
from dataver.keys import LOG_PREFIX
from dataver.results import Damage, Harm, VerifyReport
from dataver.store.base import Store, View, Wrapper

if TYPE_CHECKING:
    from dataver.errors import DataverError

WHOLE_REPOSITORY = Harm(None, None, None)

REASONS_MAX = 3
_ADVICE = re.compile(r"; (?:run|read) [^;]*$")


class Findings:
    """Collects damage by object. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reasons: dict[str, dict[str, None]] = {}
        self._harms: dict[str, set[Harm]] = {}
        self._erased: set[bytes] = set()
        self.objects = 0
        self.size_bytes = 0

    @property
    def damaged(self) -> bool:
        """Whether anything was found."""
        return bool(self._reasons)

    def looked_at(self, objects: int = 1, size_bytes: int = 0) -> None:
        """Count objects of the store, or bytes read of them."""
        with self._lock:
            self.objects += objects
            self.size_bytes += size_bytes

    def add(self, object: str, reason: str, *harms: Harm) -> str:
        """Note what is wrong with an object; gives the object back."""
        with self._lock:
            self._reasons.setdefault(object, {})[reason] = None
            self._harms.setdefault(object, set()).update(harms)
        return object

    def add_harm(self, object: str, harm: Harm) -> None:
        """Note what a damaged object harms."""
        with self._lock:
            self._harms[object].add(harm)

    def note_erased(self, digest: bytes) -> None:
        """A file of this digest is named, and was erased."""
        with self._lock:
            self._erased.add(digest)

    def report(self) -> VerifyReport:
        """Every damaged object by its key, with its harms in order."""
        damaged = [
            Damage(key, _summary(list(reasons)), sorted(self._harms[key], key=_order))
            for key, reasons in sorted(self._reasons.items())
        ]
        return VerifyReport(not damaged, self.objects, self.size_bytes, damaged, erased=len(self._erased))


def plain(error: DataverError) -> str:
    """The message of an error without its advice to run what is running."""
    return _ADVICE.sub("", str(error))


def _summary(reasons: Sequence[str]) -> str:
    more = f"; and {len(reasons) - REASONS_MAX} more" if len(reasons) > REASONS_MAX else ""
    return "; ".join(reasons[:REASONS_MAX]) + more


def _order(harm: Harm) -> tuple[str, int, str, str]:
    version = harm.version or ""
    number = int(version[1:]) if version[:1] == "v" else 0
    return harm.dataset or "", number, version, harm.path or ""


class Reads(Wrapper):
    """A store that counts the bytes read of it. `missing`: a pack or segment was not there."""

    def __init__(self, inner: Store, findings: Findings) -> None:
        super().__init__(inner)
        self._findings = findings
        self.missing = False

    def get(self, key: str) -> bytes:
        with self._noting(key):
            data = self.inner.get(key)
        self._findings.looked_at(0, len(data))
        return data

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[View]:
        with self._noting(key):
            parts = self.inner.get_ranges(key, ranges)
        self._findings.looked_at(0, sum(map(len, parts)))
        return parts

    def get_suffix(self, key: str, length: int) -> tuple[View, int]:
        with self._noting(key):
            data, size_bytes = self.inner.get_suffix(key, length)
        self._findings.looked_at(0, len(data))
        return data, size_bytes

    def map(self, key: str) -> memoryview:
        """The whole object, mapped into memory where the store can."""
        with self._noting(key):
            mapped = self.inner.map(key) if isinstance(self.inner, MapsObjects) else None
            data = memoryview(self.inner.get(key)) if mapped is None else mapped
        self._findings.looked_at(0, len(data))
        return data

    @contextmanager
    def _noting(self, key: str) -> Iterator[None]:
        try:
            yield
        except ObjectMissingError:
            self.missing = self.missing or not key.startswith(LOG_PREFIX)
            raise
