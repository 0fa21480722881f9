"""Is this machine, and is this repository, fit for work? In seconds, and with advice for what is not."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol, runtime_checkable

from dataver.errors import DataverError, NotPermittedError, ObjectMissingError
from dataver.hashing import Kind
from dataver.keys import entry_key
from dataver.log.remembered import Remembered
from dataver.private import make_folder
from dataver.refs import MAIN, live_ref, require_version
from dataver.results import Check
from dataver.session import Session
from dataver.store.base import Store, innermost
from dataver.store.cached import CachedStore
from dataver.store.probe import PROBE_PREFIX, GuardedStore
from dataver.tree.manifest import manifest_link
from dataver.values import dataclass

PYTHON_MIN = (3, 11)
SEGMENTS_MAX = 32
"""Merging keeps about 8 segments a level; more than a few levels of them slow every look-up."""
FREE_BYTES_MIN = 1 << 30
CLOCK_S_MAX = 60.0

Work = Callable[[], str]


@runtime_checkable
class CloudAccount(Protocol):
    """A store that can tell of the account it is in. All raise as a read of the store does."""

    @property
    def credential(self) -> str:
        """Which credential is used, and where it came from; no secret."""

    def is_hierarchical(self) -> bool:
        """Whether names are kept as folders in folders."""

    def soft_delete_days(self) -> int:
        """For how many days deleted objects are kept; 0: not at all."""


class _NotOkError(Exception):
    """A check that does not hold: what was found, and what to do."""

    def __init__(self, detail: str, advice: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.advice = advice


def checks(session: Session | None) -> list[Check]:
    """Every check of this machine and of the repository, in a fixed order. Never raises.

    None for a session: the machine alone. Puts one small object into the store and deletes it.
    Takes a few requests, so seconds at most; where one check makes others pointless they fail too.
    """
    found = [_run(name, work, advice) for name, work, advice in _machine()]
    if session is not None:
        found += [_run(name, work, advice) for name, work, advice in _repository(session)]
    return found


def _machine() -> Iterator[tuple[str, Work, str]]:
    yield "python", _python, "install Python 3.11 or newer"
    for package in ("blake3", "xxhash", "zstandard"):
        yield package, partial(_kernel, package), f"install it again: pip install -U {package}"
    yield "compiled part", _compiled, "install dataver again"
    yield "pyfastcdc", _chunker, "install it again with its compiled kernel: pip install -U pyfastcdc"
    yield "cache", _cache, "set DATAVER_CACHE_DIR to a folder of yours that can be written"
    waiting = _waiting_runs()
    if waiting:
        yield "waiting runs", partial(_tell_waiting, waiting), "`dataver runs push` records them"


def _repository(session: Session) -> Iterator[tuple[str, Work, str]]:
    reach = "check the URL, the network and the credentials"
    yield "repository", partial(_reachable, session), reach
    yield "format", partial(_format, session), "run `dataver verify`"
    yield "history", partial(_history, session), "run `dataver verify`"
    yield "read", partial(_read, session), "run `dataver verify`"
    yield "index", partial(_index, session), "run `dataver verify`"
    written = _Written()
    write = "ask for the right to write, if you need it; reading goes without"
    yield "write", partial(_write, session.store, written), write
    yield "clock", partial(_clock, written), "set this machine's clock, or the store's, by NTP"
    account = _account(session.store)
    if account is not None:
        yield "credential", lambda: account.credential, ""
        rights = "ask the account's owner; reading and committing do not need to know it"
        yield "namespace", partial(_namespace, account), rights
        yield "soft delete", partial(_soft_delete, account), rights
    if os.path.isabs(session.store.url):
        yield "space", partial(_space, session.store.url), "free space, or move the repository"


@dataclass(slots=True)
class _Written:
    """When an object was put, by the local clock (before and after) and by the store's, in seconds."""

    before: float = 0.0
    after: float = 0.0
    stored_at: float | None = None


def _run(name: str, work: Work, advice: str) -> Check:
    try:
        return Check(name, True, work())
    except _NotOkError as found:
        return Check(name, False, found.detail, found.advice)
    except DataverError as error:
        return Check(name, False, str(error), advice)
    except Exception as error:  # noqa: BLE001 - a check must not keep the others from running
        return Check(name, False, f"{type(error).__name__}: {error}", advice)


def _python() -> str:
    version = platform.python_version()
    if sys.version_info < PYTHON_MIN:
        raise _NotOkError(f"Python {version}", "install Python 3.11 or newer")
    return f"Python {version} on {platform.system()} {platform.machine()}"


def _kernel(package: str) -> str:
    """A compiled package gives a known answer."""
    if package == "blake3":
        from dataver.hashing import blake3_digest

        right = blake3_digest(b"").hex().startswith("af1349b9f5f9a1a6")
    elif package == "xxhash":
        from dataver.hashing import xxh3_64

        right = xxh3_64(b"") == 0x2D06800538D394C2
    else:
        from dataver.compression import compress_frame, decompress

        plain = bytes(100_000)
        _, stored = compress_frame([plain])
        right = stored is not None and decompress(stored, len(plain)) == plain
    version = importlib.metadata.version(package)
    if not right:
        raise _NotOkError(f"{package} {version} gives wrong answers", f"install another release of {package}")
    return f"{package} {version}"


def _compiled() -> str:
    from dataver.native import native

    if native is not None:
        return "there: files are read, cut, hashed and written in batches"
    return "not built, so that commits take up to twice as long: install a C compiler, then dataver again"


def _chunker() -> str:
    from dataver.chunking import ChunkerParameters
    from dataver.chunking.fastcdc import cuts

    parameters = ChunkerParameters()
    # The first call loads the kernel and compares its cuts with known ones.
    cuts(bytes(2 * parameters.max_bytes), parameters, final=True)
    return f"as pyfastcdc {importlib.metadata.version('pyfastcdc')} does, compiled"


def _cache() -> str:
    from dataver.config import cache_folder

    folder = cache_folder()
    try:
        make_folder(folder)
        probe = folder / f"doctor-{os.urandom(8).hex()}"
        probe.write_bytes(b"doctor")
        probe.unlink()
    except OSError as error:
        raise _NotOkError(
            f"{folder} cannot be written: {error.strerror}",
            "set DATAVER_CACHE_DIR to a folder of yours that can be written, or give yourself this one",
        ) from error
    return str(folder)


def _waiting_runs() -> int:
    """How many runs wait on this machine to be recorded; only their folders are counted."""
    from dataver.config import spool_folder

    try:
        return sum(name.is_dir() for name in os.scandir(spool_folder()))
    except (OSError, DataverError):
        return 0


def _tell_waiting(count: int) -> str:
    from dataver.config import spool_folder

    raise _NotOkError(
        f"{count} of this user's runs wait in {spool_folder()}",
        "record them with `dataver runs push`; those of other repositories with -R",
    )


def _reachable(session: Session) -> str:
    from dataver.config import absence

    started = time.perf_counter()
    try:
        session.store.get(entry_key(0))
    except ObjectMissingError:
        raise _NotOkError(*absence(session.store.url)) from None
    took_ms = 1000 * (time.perf_counter() - started)
    return f"{session.store.url}, {took_ms:.0f} ms a request"


def _format(session: Session) -> str:
    genesis = session.log.genesis()
    features = ", ".join(genesis.required) or "no features beyond it"
    return f"format {genesis.format}, {features}"


def _history(session: Session) -> str:
    memory = Remembered(session.store.identity)
    seen = memory.load()
    number = session.log.tail().entry.number
    if seen is None:
        return f"entry {number} is the newest; this machine had seen none before"
    return f"entry {number} is the newest, after entry {seen.number}, which this machine saw before"


def _read(session: Session) -> str:
    """A whole way through: the state, the index and a version's record and manifest."""
    state = session.state()
    for name, dataset in state.datasets():
        head = live_ref(state, dataset, MAIN)
        if head is not None:
            version = require_version(state, dataset, head.target)
            session.objects().record(Kind.VERSION, version.id)
            session.nodes().load(manifest_link(version.manifest))
            return f"the head of {name}, and what leads to it"
    return "there is no version yet"


def _index(session: Session) -> str:
    segments = session.log.state().segments()
    keys = sum(segment.keys for segment in segments)
    detail = f"{len(segments)} segment{'' if len(segments) == 1 else 's'} of {keys:,} chunks and records"
    if len(segments) > SEGMENTS_MAX:
        raise _NotOkError(detail, "commit once more: commits merge segments")
    return detail


def _write(store: Store, written: _Written) -> str:
    """Put an object, see when the store says that was, and delete it."""
    guarded = store.inner if isinstance(store, CachedStore) else store
    inner = getattr(guarded, "inner", guarded)
    if isinstance(guarded, GuardedStore):
        guarded.ensure_safe()
    key = f"{PROBE_PREFIX}doctor-{os.urandom(16).hex()}"
    written.before = time.time()
    if not store.put_new(key, b"doctor", barrier=False):
        raise _NotOkError("a key that nobody used was said to exist", "keep the repository on another store")
    try:
        written.after = time.time()
        written.stored_at = next((info.stored_at for info in store.list(key)), None)
    finally:
        deleted = _delete(store, key)
        if hasattr(inner, "end_probe"):
            inner.end_probe()
    if written.stored_at is None:
        raise _NotOkError(
            "an object that was just put is not listed", "wait, and try again; else use another store"
        )
    if not deleted:
        return "objects are created once; they may not be deleted, which collecting garbage needs"
    return "objects are created once, and can be deleted"


def _delete(store: Store, key: str) -> bool:
    try:
        store.delete(key)
    except NotPermittedError:
        return False
    return True


def _clock(written: _Written) -> str:
    stored_at = written.stored_at
    if stored_at is None:
        raise _NotOkError(
            "not compared, as no object could be put", "mend what keeps objects from being put first"
        )
    # Stores keep whole seconds at worst, so up to a second of a difference is none.
    apart_s = max(written.before - stored_at - 1, stored_at - written.after - 1, 0.0)
    detail = f"this machine's and the store's are {apart_s:.0f} s apart"
    if apart_s > CLOCK_S_MAX:
        raise _NotOkError(detail, "set this machine's clock, or the store's, by NTP")
    return detail


def soft_delete_days(store: Store) -> int | None:
    """For how many days a store keeps what is deleted. 0: not at all; None where it does not say."""
    account = _account(store)
    if account is None:
        return 0 if os.path.isabs(store.url) or store.url.startswith("memory:") else None
    try:
        return account.soft_delete_days()
    except DataverError:
        return None


def _account(store: Store) -> CloudAccount | None:
    found = innermost(store)
    return found if isinstance(found, CloudAccount) else None


def _namespace(account: CloudAccount) -> str:
    try:
        hierarchical = account.is_hierarchical()
    except NotPermittedError:
        return "not known: this login may not ask"
    return "hierarchical, which works and has no advantage here" if hierarchical else "flat, as it should be"


def _soft_delete(account: CloudAccount) -> str:
    try:
        days = account.soft_delete_days()
    except NotPermittedError:
        return "not known: this login may not ask"
    return f"deleted objects are kept, and paid for, {days} days" if days else "off"


def _space(folder: str) -> str:
    free = shutil.disk_usage(folder).free
    detail = f"{free / 1e9:.1f} GB free at {folder}"
    if free < FREE_BYTES_MIN:
        raise _NotOkError(detail, "free space, or move the repository to a larger disk")
    return detail
