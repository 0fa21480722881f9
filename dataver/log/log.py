"""Finding the log's tail, reading the state, and appending: the one commit point.

A writer puts packs, then index segments, then one entry under the next free number. The entry's
creation is atomic, so that either all of it counts or nothing does. Whether an entry was ours is
always decidable: it carries a random write id and never changes.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from dataver.chunk_index import MapsObjects
from dataver.config import no_repository
from dataver.digest import Digest
from dataver.errors import (
    AlreadyExistsError,
    BadInputError,
    ConflictError,
    DamagedError,
    NewerFormatError,
    NotFoundError,
    NotPermittedError,
    ObjectMissingError,
    RollbackError,
    StoreError,
)
from dataver.format.entry import (
    CHECKPOINT_EVERY,
    NO_ENTRY,
    Entry,
    StateRoot,
    Step,
    decode_entry,
    entry_digest,
)
from dataver.format.operations import Erase, GcSweep, Genesis, Operation
from dataver.keys import HINT_KEY, entry_key
from dataver.log.apply import Applier
from dataver.log.nodes import StateNodes, root_link
from dataver.log.remembered import Remembered, Seen
from dataver.log.state import State, value_row
from dataver.packs import Nonce, random_nonce
from dataver.store.base import Store, ensure_safe
from dataver.store.cached import is_offline, writing_offline
from dataver.values import dataclass

FEATURES: frozenset[str] = frozenset()
"""Required features of a repository that this release knows."""
FORMAT = 1
RETRY_S_MAX = 600.0
DECIDE_S_MAX = 60.0
_FINAL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOTDIR, errno.ENOENT, errno.ENAMETOOLONG})

Plan = Callable[[State], "tuple[Operation, ...] | None"]
"""Given the newest state: what to append, or None for nothing. Runs again after a lost race."""

Forget = Callable[[list[bytes], list[bytes]], None]
"""Told the files and chunks that were erased, and the packs that were deleted: caches drop their bytes."""


@dataclass(frozen=True, slots=True)
class Tail:
    """The newest entry that was found, with its digest and its bytes."""

    entry: Entry
    digest: Digest
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes the entries of one process: who, and where ids, nonces and times come from."""

    author: str
    nonce: Nonce = random_nonce
    write_id: Nonce = lambda: os.urandom(16)
    now_us: Callable[[], int] = lambda: time.time_ns() // 1000


class Log:
    """The log of one repository. Safe for several threads only as far as its store is; use one a thread.

    Raises `RollbackError` where history is not a continuation of what this machine saw before,
    unless `accept_rollback`.
    """

    def __init__(self, store: Store, *, accept_rollback: bool = False) -> None:
        self.store = store
        self.nodes = StateNodes(store)
        self._remembered = Remembered(store.identity)
        self.accept_rollback = accept_rollback
        self._tail: Tail | None = None
        self._first: Tail | None = None
        self._seen = -1
        self.forget: Forget | None = None
        self._genesis: Genesis | None = None
        # Where each read is a request, what is known for certain is not read again.
        self._far = not isinstance(store, MapsObjects)

    # Reading

    def entry(self, number: int) -> Tail:
        """Entry `number` with its digest. `ObjectMissingError` where there is none."""
        for known in (self._first, self._tail) if is_offline(self.store) else ():
            if known is not None and known.entry.number == number:
                return known
        key = entry_key(number)
        data = self.store.get(key)
        entry = decode_entry(data, key)
        if entry.number != number:
            raise DamagedError(f"{key} says that it is entry {entry.number}; run `dataver verify`")
        return Tail(entry, entry_digest(data), data)

    def _past(self, number: int) -> Tail:
        from dataver.log.past import past  # few commands look back

        return past(self, number)

    def genesis(self) -> Genesis:
        """What the repository is made of. `RepositoryNotFoundError` where there is none."""
        if self._genesis is None:
            try:
                first = self._recall() or self.entry(0)
            except ObjectMissingError:
                self.refuse_headless()
                raise no_repository(self.store.url) from None
            operations = first.entry.operations
            if len(operations) == 0 or not isinstance(operations[0], Genesis):
                raise DamagedError(f"{entry_key(0)} does not begin a repository; run `dataver verify`")
            self._first, self._genesis = first, operations[0]
            _check_features(self._genesis, self.store.url)
        return self._genesis

    def refuse_headless(self) -> None:
        """`DamagedError` where entry 0 is gone and others are there: a second one would lose them all."""
        with suppress(ObjectMissingError):
            self.store.get(entry_key(1))
            try:
                self.store.get(entry_key(0))
            except ObjectMissingError:
                raise DamagedError(
                    f"{entry_key(0)}, the beginning of the repository {self.store.url}, is missing; "
                    "`dataver repair --from URL` puts it back from a byte-by-byte copy of this repository"
                ) from None

    def repository(self) -> bytes:
        """The repository's id: 16 random bytes."""
        self.genesis()
        assert self._first is not None
        return self._first.entry.repository

    def tail(self) -> Tail:
        """The newest entry, looked for again at each call. Offline: the newest this machine saw."""
        self.genesis()
        if is_offline(self.store) and self._tail is not None:
            return self._tail
        low = self._tail or self._first_look()
        following = self._try(low.entry.number + 1) if low.entry.number else low
        found = low if following is None else self._gallop(self._hinted(following))
        if self._tail is None or found.entry.number != self._tail.entry.number:
            self._remember(found)
        self._tail = found
        return found

    def state(self) -> State:
        """The state after the newest entry."""
        return self.state_of(self.tail())

    def state_at(self, number: int) -> State:
        """The state after entry `number`."""
        tail = self.tail()
        if not 0 <= number <= tail.entry.number:
            raise NotFoundError(f"there is no log entry {number}; the newest is {tail.entry.number}")
        return self.state_of(tail if number == tail.entry.number else self._past(number))

    def number_at(self, time_us: int) -> int:
        """The newest entry that was made at `time_us` or before. Times in the log never go back."""
        if self._past(0).entry.time_us > time_us:
            raise BadInputError("the repository did not exist yet at that time")
        low, high = 0, self.tail().entry.number
        while low < high:
            middle = (low + high + 1) // 2
            if self._past(middle).entry.time_us <= time_us:
                low = middle
            else:
                high = middle - 1
        return low

    def state_of(self, tail: Tail) -> State:
        """The state after an entry that was read."""
        return self._replay(tail.entry.base, tail.entry.steps)

    def _replay(self, base: StateRoot | None, steps: tuple[Step, ...]) -> State:
        link = None if base is None else root_link(base)
        number = steps[-1].number if steps else 0
        state = State(number, self.genesis(), self.nodes, link, {})
        for step in steps:
            Applier(state, step.number, checked=False).apply(step.operations)
        return state

    # Finding the tail

    def _first_look(self) -> Tail:
        """The newest entry this machine remembers, if the store still has the very same."""
        seen = self._remembered.load()
        first = self._first if self._far and self._first is not None else self.entry(0)
        if seen is None:
            return first
        if seen.repository == first.entry.repository.hex():
            found = self._try(seen.number)
            if found is not None and found.digest == seen.digest:
                self._seen = seen.number
                return found
        if self.accept_rollback:
            return first
        raise RollbackError(
            f"{self.store.url} is not the repository, or has not the history, that this machine saw "
            f"before (entry {seen.number} of {seen.repository}): it was rolled back, or another was put in "
            "its place. If that was meant, repeat with --accept-rollback"
        )

    def _recall(self) -> Tail | None:
        """Entry 0 as this machine kept it, where the store still has the entry it kept last, or is not asked.

        That one is of the repository that entry 0 is of. None where anything is not as it was.
        """
        seen = self._remembered.load() if self._far else None
        if seen is None or not seen.genesis:
            return None
        try:
            first = decode_entry(seen.genesis, entry_key(0))
            if is_offline(self.store):
                kept = decode_entry(seen.entry, entry_key(seen.number))
                last: Tail | None = Tail(kept, entry_digest(seen.entry), seen.entry)
            else:
                last = self._try(seen.number)
        except DamagedError:
            return None
        if last is None or last.digest != seen.digest or last.entry.repository != first.repository:
            return None
        self._tail, self._seen = last, seen.number
        return Tail(first, entry_digest(seen.genesis), seen.genesis)

    def _hinted(self, low: Tail) -> Tail:
        """The entry that the hint names, where it is there and newer than `low`."""
        hint = self._hint()
        return (self._try(hint) if hint > low.entry.number else None) or low

    def _hint(self) -> int:
        try:
            data = self.store.get(HINT_KEY)
        except ObjectMissingError:
            return 0
        # The hint may be anything: only digits count, and only if the entry is there.
        return int(data) if data.isdigit() and len(data) <= 19 else 0

    def _gallop(self, low: Tail) -> Tail:
        """Existence is monotone: step up from an entry that is there, doubling, then halve."""
        step = 1
        high: int | None = None
        while high is None or high - low.entry.number > 1:
            number = low.entry.number + step if high is None else (low.entry.number + high) // 2
            found = self._try(number)
            if found is None:
                high = number
            else:
                low = found
                step *= 2
        return low

    def _try(self, number: int) -> Tail | None:
        try:
            found = self.entry(number)
        except ObjectMissingError:
            return None
        if self._tail is not None and found.entry.repository != self._tail.entry.repository:
            raise DamagedError(f"{entry_key(number)} is of another repository; run `dataver verify`")
        return found

    def _remember(self, tail: Tail) -> None:
        self._pass_on_erasures(tail)
        seen = Seen(tail.entry.repository.hex(), tail.entry.number, tail.digest)
        if self._far and tail.data and self._first is not None:
            seen = replace(seen, entry=tail.data, genesis=self._first.data)
        self._remembered.save(seen)

    def _pass_on_erasures(self, tail: Tail) -> None:
        """Before an entry counts as seen here: have the caches drop what was erased since the last one.

        Costs nothing where the entries since are those that the tail repeats, and none of them erases.
        """
        before, self._seen = self._seen, tail.entry.number
        steps = tail.entry.steps
        if self.forget is None or not steps:
            return
        if steps[0].number <= before + 1 and not any(
            isinstance(operation, Erase | GcSweep)
            for step in steps
            if step.number > before
            for operation in step.operations
        ):
            return
        state = self.state_of(tail)
        erased = [bytes(digest) for digest, _ in state.erasures()]
        if erased:
            self.forget(erased, [bytes(name) for name in state.swept()])

    # Appending

    def create(self, genesis: Genesis, repository: bytes, identity: Identity) -> Tail:
        """Put entry 0. `AlreadyExistsError` where the place has a repository."""
        if is_offline(self.store):
            raise writing_offline(self.store)
        self.refuse_headless()
        entry = Entry(
            0,
            NO_ENTRY,
            repository,
            identity.write_id(),
            identity.now_us(),
            identity.author,
            (genesis,),
            None,
            (),
        )
        if not self._put(entry):
            raise AlreadyExistsError(
                f"there is a repository at {self.store.url} already; nothing was changed"
            )
        self._tail = _own(entry)
        self._remember(self._tail)
        return self._tail

    def append(self, plan: Plan, identity: Identity) -> State:
        """Append what `plan` gives for the newest state, and again for each state a race brings.

        Returns the state after the entry, or the newest one where `plan` gave None. What `plan`
        raises goes to the caller with nothing appended; what it returns is checked against the
        state, and a `ConflictError` of that check means that `plan` forgot to look.
        """
        if is_offline(self.store):
            raise writing_offline(self.store)
        started = time.monotonic()
        attempt = 0
        self._check_memory()
        while True:
            tail = self.tail()
            try:
                state = self.state_of(tail)
                operations = plan(state)
            except DamagedError:
                late = time.monotonic() - started > RETRY_S_MAX
                if late or self.tail().entry.number == tail.entry.number:
                    raise
                continue  # What is missing may have been collected by then.
            if operations is None:
                return state
            Applier(state.copy(), state.number + 1, checked=True).apply(operations)
            entry = self._next(tail, operations, identity)
            if self._put(entry):
                self._tail = _own(entry)
                self._remember(self._tail)
                self.put_hint(entry.number)
                return self.state_of(self._tail)
            if time.monotonic() - started > RETRY_S_MAX:
                raise ConflictError(
                    f"{self.store.url} is so busy that this change lost every race for {RETRY_S_MAX:.0f} s; "
                    "nothing was recorded, repeat it"
                )
            attempt += 1
            import random

            time.sleep(random.uniform(0, min(2.0, 0.005 * 2 ** min(attempt, 9))))  # noqa: S311 - jitter

    def renew(self, state: State, identity: Identity) -> int:
        """Append entries that change nothing, up to one that names its state written anew; how many.

        For a newest state that cannot be read any more, though it is known: `state` is that after entry
        `state.number`, and all of it can be read. No node that was written before is used.
        """
        state, made = state.copy(), 0
        while True:
            tail = self.tail()
            for number in range(state.number + 1, tail.entry.number + 1):
                Applier(state, number, checked=False).apply(self._past(number).entry.operations)
                state.number = number
            whole = State(state.number, state.genesis, self.nodes, None, dict(state.items()))
            entry = self._next(tail, (), identity, whole)
            if self._put(entry):
                made += 1
                self._tail = _own(entry)
                self._remember(self._tail)
                self.put_hint(entry.number)
                if not entry.since:
                    return made

    def _check_memory(self) -> None:
        """Before each commit: the entry this process last saw is still the very same."""
        if self._tail is None:
            return
        found = self._try(self._tail.entry.number)
        if found is None or found.digest != self._tail.digest:
            raise RollbackError(
                f"the history of {self.store.url} was rolled back or replaced while it was open"
            )

    def _next(
        self, tail: Tail, operations: tuple[Operation, ...], identity: Identity, state: State | None = None
    ) -> Entry:
        """The entry after `tail`. A checkpoint's state is written on top of the last one, or is `state`."""
        number = tail.entry.number + 1
        if number % CHECKPOINT_EVERY:
            base, since = tail.entry.base, tail.entry.steps
        else:
            base, since = self._checkpoint(state or self.state_of(tail), identity), ()
        now_us = max(identity.now_us(), tail.entry.time_us)
        repository = tail.entry.repository
        write_id, author = identity.write_id(), identity.author
        return Entry(number, tail.digest, repository, write_id, now_us, author, operations, base, since)

    def _checkpoint(self, state: State, identity: Identity) -> StateRoot:
        """Write the tree of a state."""
        from dataver.tree.build import build
        from dataver.tree.update import update

        self.nodes.begin(identity.nonce)
        rows = {key: None if value is None else value_row(key, value) for key, value in state.changes.items()}
        if state.base is None:
            link = build(self.nodes, [row for _, row in sorted(rows.items()) if row is not None])
        else:
            link = update(self.nodes, state.base, rows)
        return self.nodes.finish(link)

    def _put(self, entry: Entry) -> bool:
        """Create the entry; False if another one has its number. Decides lost answers by the write id."""
        ensure_safe(self.store)
        key, data = entry_key(entry.number), entry.encode()
        started = time.monotonic()
        pause_s = 0.05
        while True:
            failure: StoreError | None = None
            try:
                if self.store.put_new(key, data):
                    return True
            except StoreError as error:
                failure = error
            ours = self._ours(entry)
            # After a failure only another put with an answer shows that ours is durable.
            if ours is not None and (failure is None or not ours):
                return ours
            if failure is not None and ours is None and _refused(failure):
                raise failure
            if time.monotonic() - started > DECIDE_S_MAX:
                raise StoreError(
                    f"{key} of {self.store.url} may have been committed: the store did not say "
                    f"({failure or 'it neither takes nor has the entry'}). Look at `dataver log` "
                    "before you repeat it"
                ) from failure
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 5.0)

    def _ours(self, entry: Entry) -> bool | None:
        """Whether the entry under this number is ours; None where there is none, or no answer."""
        try:
            return self.entry(entry.number).entry.write_id == entry.write_id
        except (ObjectMissingError, StoreError):
            return None

    def put_hint(self, number: int) -> None:
        """Tell readers where to begin to look for the newest entry. Advisory: it may fail unseen."""
        try:
            self.store.put_hint(HINT_KEY, str(number).encode())
        except (StoreError, NotPermittedError):
            # Without it readers look a little longer.
            return


def _own(entry: Entry) -> Tail:
    """An entry that was just put."""
    data = entry.encode()
    return Tail(entry, entry_digest(data), data)


def _refused(failure: StoreError) -> bool:
    """Whether the file system said no for good, so that waiting for an answer is of no use."""
    cause = failure.__cause__
    return isinstance(cause, OSError) and cause.errno in _FINAL


def _check_features(genesis: Genesis, url: str) -> None:
    unknown = sorted(set(genesis.required) - FEATURES)
    if genesis.format != FORMAT or unknown:
        raise NewerFormatError(
            f"the repository at {url} has format {genesis.format} {' '.join(unknown)}; "
            f"this release reads format {FORMAT}. Use a newer release of dataver"
        )
