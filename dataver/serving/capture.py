"""`Capture`: rows and requests on their way into a dataset, at next to no cost for the service."""

from __future__ import annotations

import atexit
import errno
import logging
import os
import queue
import random
import re
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dataver.config import find_repository, no_repository, repository_inside
from dataver.errors import BadInputError, RepositoryNotFoundError
from dataver.refs import check_dataset_name
from dataver.serving.bodies import Row, as_rows, parse
from dataver.serving.committer import LOGGER, Committer, python_program
from dataver.serving.privacy import make_privacy
from dataver.serving.spool import Spool, SpoolFullError, folder_of
from dataver.store.clients import public_url
from dataver.values import dataclass

if TYPE_CHECKING:
    from dataver.serving.committing import Served
    from dataver.serving.web import Asgi, Wsgi

__all__ = ["Capture", "Counts"]

UNITS_S = {"m": 60, "h": 3600, "d": 86_400}
TICK_S = 0.5
DRAINED_AT_ONCE = 256
CLOSE_S = 5.0
COMMIT_S = 60.0
"""So long `commit` waits for another process that commits the same."""
QUEUE_BYTES_MAX = 64 << 20
"""So much of bodies waits at most in memory, however many requests may."""
Asked = queue.Queue[tuple[int, Callable[[], Sequence[Row]]] | None]
"""The size of each request, and what makes its rows; None at the end."""
_WINDOW = re.compile(r"([1-9][0-9]{0,4})([mhd])", re.ASCII)


@dataclass(frozen=True, slots=True)
class Counts:
    """What this process has captured since its start. `dropped` are requests, by why they are not there."""

    rows: int
    dropped: Mapping[str, int]


class Capture:
    """Takes what a service is asked, and has it committed by windows. For any thread, and across forks.

    `rows` and `body`, and the applications around others, neither wait nor raise, whatever happens: what
    cannot be taken is counted. The thread starts with the first request, in each process its own.
    """

    def __init__(
        self,
        dataset: str,
        *,
        repo: str | os.PathLike[str] | None = None,
        window: str | int = "1h",
        fraction: float = 1.0,
        model: str = "",
        columns: Collection[str] = (),
        leave_out: Collection[str] = (),
        hashed: Collection[str] = (),
        key: str | bytes | None = None,
        names: Sequence[str] = (),
        queue_max: int = 1000,
        body_bytes_max: int = 1 << 20,
        spool_bytes_max: int = 1 << 30,
        author: str | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        """`repo` is found as `dataver.open` finds it. `window` is a time as "15m", "1h" or "1d", or a number
        of rows of one process. Of all requests the share `fraction` is taken. `model` is what is asked, as
        `model:churn@v2`, for the record.

        Of the columns of a row only `columns` are kept, or all, save those in `leave_out`; those in `hashed`
        as digests under a secret `key`, or that in `DATAVER_SERVED_KEY`. `names` are those of columns where
        rows come as plain lists.

        So much waits at most: `queue_max` requests in memory, of `body_bytes_max` each and 64 MiB in all,
        and `spool_bytes_max` on disk.

        `BadInputError` for what makes no sense, `RepositoryNotFoundError` where none is named.
        """
        check_dataset_name(dataset)
        url = _place(repo)
        self.dataset = dataset
        self.body_bytes_max = body_bytes_max
        self.folder = folder_of(url, dataset)
        """Where rows wait on this machine."""
        self._window_s, self._rows_max = window_of(window)
        if not 0 < fraction <= 1:
            raise BadInputError(f"a fraction of {fraction} cannot be taken: more than 0 and at most 1 can")
        limits = {
            "queue_max": queue_max, "body_bytes_max": body_bytes_max, "spool_bytes_max": spool_bytes_max,
        }  # fmt: skip
        for name, limit in limits.items():
            if limit < 1:
                raise BadInputError(f"{name} is {limit}, and nothing could be captured: 1 is the least")
        self._fraction = fraction
        self._names = tuple(names)
        self._privacy = make_privacy(columns, leave_out, hashed, key)
        self._facts = {"fraction": fraction, "model": model}
        self._queue_max = queue_max
        self._spool_bytes_max = spool_bytes_max
        self._document: dict[str, Any] = {
            "folder": self.folder, "url": url, "dataset": dataset, "author": author,
            "storage_options": dict(storage_options or {}),
        }  # fmt: skip
        self._spool: Spool | None = None
        self._begin()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_method(self, "_begin"))
        atexit.register(_method(self, "close"))

    def __repr__(self) -> str:
        return f"<Capture {self.dataset} in {self.folder}>"

    def _begin(self) -> None:
        """Nothing was captured yet in this process. What it has open of its parent is the parent's."""
        if self._spool is not None:
            self._spool.forget()
        self._spool = None
        self._lock = threading.Lock()
        self._queue: Asked = queue.Queue(self._queue_max)
        self._queued_bytes = 0
        self._quiet_until = 0.0
        self._thread: threading.Thread | None = None
        self._rows = 0
        self._dropped: Counter[str] = Counter()
        self._untold: Counter[str] = Counter()
        self._random = random.Random()  # noqa: S311 - of the process's own, and no secret

    # What a service calls

    def rows(self, rows: Any) -> None:
        """Capture rows, which nobody changes: mappings, columns by name, a data frame or a table."""
        self._take(0, lambda: as_rows(rows, self._names))

    def body(self, content_type: str, body: bytes) -> None:
        """Capture the body of a request: JSON as MLflow's `/invocations` takes it, plain JSON, or CSV."""
        self._take(len(body), lambda: parse(content_type, body, self._names))

    def drop(self, reason: str) -> None:
        """Count a request that is not captured."""
        with self._lock:
            for counts in (self._dropped, self._untold):
                counts[reason] += 1

    def wsgi(self, app: Any, paths: Collection[str] = ("/invocations",)) -> Wsgi:
        """The WSGI application `app`, with what is posted to `paths` and answered with success captured."""
        from dataver.serving.web import Wsgi

        return Wsgi(self, app, frozenset(paths))

    def asgi(self, app: Any, paths: Collection[str] = ("/invocations",)) -> Asgi:
        """The ASGI application `app`, with what is posted to `paths` and answered with success captured."""
        from dataver.serving.web import Asgi

        return Asgi(self, app, frozenset(paths))

    @property
    def counts(self) -> Counts:
        """What this process has captured, and what it has not."""
        with self._lock:
            return Counts(self._rows, dict(self._dropped))

    def _take(self, size_bytes: int, made: Callable[[], Sequence[Row]]) -> None:
        try:
            if self._fraction < 1 and self._random.random() >= self._fraction:
                return
            with self._lock:
                if self._thread is None:
                    self._start()
                if self._queued_bytes + size_bytes > QUEUE_BYTES_MAX:
                    raise queue.Full
                self._queue.put_nowait((size_bytes, made))
                self._queued_bytes += size_bytes
        except queue.Full:
            self.drop("queue full")
        except Exception:  # noqa: BLE001 - a service never fails for what is noted of it
            self.drop("error")

    # The end

    def commit(self) -> Served | None:
        """Commit what was captured by now, in this process, without waiting for the end of the window.

        And what others left behind that have ended. None where another process is at it for a minute.
        """
        from dataver.repository import open_repository
        from dataver.serving.committing import commit_waiting

        self.close()
        asked = self._document
        repository = open_repository(asked["url"], storage_options=asked["storage_options"] or None)
        return commit_waiting(repository, self.dataset, self.folder, author=asked["author"], wait_s=COMMIT_S)

    def close(self) -> None:
        """Write what is in the queue to disk, within seconds. What is captured later begins anew."""
        with self._lock:
            thread, self._thread = self._thread, None
            asked, self._queue = self._queue, queue.Queue(self._queue_max)
        if thread is not None:
            with suppress(queue.Full):
                asked.put(None, timeout=CLOSE_S)
            thread.join(CLOSE_S)

    # The thread

    def _start(self) -> None:
        work = threading.Thread(target=self._work, args=(self._queue,), name="dataver-capture", daemon=True)
        work.start()
        self._thread = work

    def _work(self, asked: Asked) -> None:
        place = {"url": public_url(self._document["url"]), "dataset": self.dataset}
        spool = Spool(self.folder, place, self._window_s, self._rows_max, self._spool_bytes_max)
        self._spool = spool
        committer = Committer(spool, self._document, python_program())
        on = True
        while on:
            try:
                on = self._drain(asked, spool)
                now = time.time()
                self._tell_dropped(spool)
                spool.roll(int(now))
                committer.tick(now)
            except Exception as error:  # noqa: BLE001 - told, and tried again
                self._warn(f"served rows of {self.dataset} wait in {self.folder}: {error}")
        self._tell_dropped(spool)
        spool.close()
        committer.close()

    def _warn(self, text: str) -> None:
        """Tell the log, once a minute at most."""
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + UNITS_S["m"]
            logging.getLogger(LOGGER).warning("%s", text)

    def _drain(self, asked: Asked, spool: Spool) -> bool:
        """Write what is in the queue; False where that was the end of it."""
        for number in range(DRAINED_AT_ONCE):
            try:
                taken = asked.get(timeout=TICK_S) if not number else asked.get_nowait()
            except queue.Empty:
                return True
            if taken is None:
                return False
            with self._lock:
                self._queued_bytes -= taken[0]
            self._write(spool, taken[1])
        return True

    def _write(self, spool: Spool, made: Callable[[], Sequence[Row]]) -> None:
        try:
            rows = [self._privacy.kept(row) for row in made()]
        except Exception:  # noqa: BLE001 - it holds no rows, or none like those that are known
            self.drop("not understood")
            return
        if not rows:
            return
        try:
            spool.add(time.time_ns() // 1000, rows, self._facts)
        except SpoolFullError:
            self.drop("disk full")
        except OSError as error:
            spool.close()
            full = error.errno in (None, errno.ENOSPC, errno.EDQUOT)
            if not full:
                self._warn(f"served rows of {self.dataset} cannot be written to {self.folder}: {error}")
            self.drop("disk full" if full else "cannot be written")
        except Exception:  # noqa: BLE001 - they hold what JSON has no word for
            self.drop("not understood")
        else:
            with self._lock:
                self._rows += len(rows)

    def _tell_dropped(self, spool: Spool) -> None:
        with self._lock:
            untold, self._untold = self._untold, Counter()
        if untold:
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in untold.items())
            self._warn(f"requests that are not captured in {self.dataset}: {reasons}")
            try:
                told = spool.dropped(untold)
            except OSError:
                spool.close()
                told = False
            if not told:
                with self._lock:
                    self._untold.update(untold)


def window_of(window: str | int) -> tuple[int, int]:
    """The seconds of a window, or the rows. `BadInputError` for any other."""
    if isinstance(window, int) and not isinstance(window, bool) and window > 0:
        return 0, window
    found = _WINDOW.fullmatch(window) if isinstance(window, str) else None
    if found is None or (seconds := int(found[1]) * UNITS_S[found[2]]) > UNITS_S["d"]:
        raise BadInputError(
            f"{window!r} is no window: write a time of one day at most, as 15m, 1h or 1d, or a number of rows"
        )
    return seconds, 0


def _place(repo: str | os.PathLike[str] | None) -> str:
    """The URL of the repository, which a process of its own opens. A path is made absolute.

    It need not be reached now, but a folder that only holds one is told while somebody is looking.
    """
    url = find_repository() if repo is None else os.fspath(repo)
    if url is None:
        raise RepositoryNotFoundError(
            "it is not known where served rows are to go: give `repo`, or set DATAVER_REPO"
        )
    if "://" in url:
        return url
    place = os.path.abspath(url)
    if repository_inside(place):
        raise no_repository(place)
    return place


def _method(capture: Capture, name: str) -> Callable[[], None]:
    """A method of a capture, as long as somebody has it."""
    found = weakref.ref(capture)

    def call() -> None:
        there = found()
        if there is not None:
            getattr(there, name)()

    return call
