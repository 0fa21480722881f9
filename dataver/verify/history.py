"""The log, entry by entry: there, well formed, chained, and adding up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field

from dataver.config import no_repository
from dataver.digest import DIGEST_BYTES, Digest
from dataver.errors import DamagedError, NewerFormatError, ObjectMissingError
from dataver.format.entry import (
    CHECKPOINT_EVERY,
    NO_ENTRY,
    Entry,
    StateRoot,
    Step,
    decode_entry,
    entry_digest,
)
from dataver.format.operations import Genesis
from dataver.hashing import Kind, kind_digest
from dataver.keys import HINT_KEY, LOG_PREFIX, entry_key
from dataver.log.state import State
from dataver.progress import Progress
from dataver.store.base import Store
from dataver.values import dataclass
from dataver.verify.findings import WHOLE_REPOSITORY, Findings, plain
from dataver.verify.replay import Replay, StateTrees


@dataclass(slots=True)
class _Block:
    """The entries from one checkpoint up to the next; what could not be read is left out."""

    first: int
    entries: dict[int, tuple[Entry, Digest]] = field(default_factory=dict)

    def steps(self) -> dict[int, Step]:
        """What each entry did, by its own word, else as later entries repeat it."""
        found: dict[int, Step] = {}
        for number in sorted(self.entries, reverse=True):
            entry = self.entries[number][0]
            found.update({step.number: step for step in entry.since if step.number not in self.entries})
            found[number] = entry.steps[-1]
        return found

    def base(self) -> StateRoot | None:
        """The state that the block builds on, as most of its entries name it."""
        bases = Counter(entry.base for entry, _ in self.entries.values())
        return bases.most_common(1)[0][0] if bases else None


class History:
    """Reads and checks the whole log. `state` afterwards is that of the newest entry, as far as known."""

    def __init__(self, store: Store, findings: Findings, jobs: int) -> None:
        self._store = store
        self._findings = findings
        self._jobs = jobs
        self._trees = StateTrees(store, findings)
        self._replay = Replay(findings, self._trees)
        self._repository = b""
        self._before: tuple[int, Digest] | None = None
        self.tail = -1

    @property
    def state(self) -> State:
        """The state that the entries add up to."""
        return self._replay.state

    def check(self, progress: Progress) -> None:
        """Look at every entry. `RepositoryNotFoundError` where there is none."""
        hint = read_hint(self._store)
        self.tail = max(entry_numbers(self._store))
        if hint > self.tail:
            reason = f"it names entry {hint}, but entry {self.tail} is the newest that is there"
            self._findings.add(HINT_KEY, reason, WHOLE_REPOSITORY)
        self._repository = self._vote()
        base: StateRoot | None = None
        progress.begin("verifying the log", self.tail + 1)
        try:
            with ThreadPoolExecutor(self._jobs, thread_name_prefix="dataver-verify") as pool:
                for block in self._blocks(pool):
                    base = self._check_block(block)
                    progress.advance(min(CHECKPOINT_EVERY, self.tail + 1 - block.first))
        finally:
            progress.end()
        if self._findings.damaged and base is not None:
            self._trees.harm_readers(base)

    def _vote(self) -> bytes:
        """The repository that the entries are of: what the first, the second and the last agree on."""
        found: Counter[bytes] = Counter()
        for number in sorted({self.tail, 0, 1} & set(range(self.tail + 1)), reverse=True):
            try:
                data = self._store.get(entry_key(number))
                found[decode_entry(data, entry_key(number)).repository] += 1
            except (ObjectMissingError, DamagedError, NewerFormatError):
                continue
        return found.most_common(1)[0][0] if found else b""

    def _blocks(self, pool: ThreadPoolExecutor) -> Iterator[_Block]:
        for first in range(0, self.tail + 1, CHECKPOINT_EVERY):
            last = min(first + CHECKPOINT_EVERY, self.tail + 1)
            block = _Block(first)
            wanted = range(first, last)
            for number, data in zip(wanted, pool.map(self._get, wanted), strict=True):
                self._findings.looked_at()
                entry = None if data is None else self._decode(number, data)
                if entry is not None and data is not None:
                    block.entries[number] = entry, entry_digest(data)
            yield block

    def _get(self, number: int) -> bytes | None:
        key = entry_key(number)
        try:
            return self._store.get(key)
        except ObjectMissingError:
            self._findings.add(key, "it is missing", WHOLE_REPOSITORY)
            return None

    def _decode(self, number: int, data: bytes) -> Entry | None:
        entry = decode_whole(number, data, self._findings)
        if entry is not None and self._repository and entry.repository != self._repository:
            self._findings.add(entry_key(number), "it is of another repository", WHOLE_REPOSITORY)
            return None
        return entry

    def _check_block(self, block: _Block) -> StateRoot | None:
        base, steps = block.base(), block.steps()
        if block.first:
            self._replay.checkpoint(block.first, base)
        since: list[Step] = []
        for number in range(block.first, min(block.first + CHECKPOINT_EVERY, self.tail + 1)):
            if number in block.entries:
                self._check_entry(number, block.entries[number], base, since)
            step = steps.get(number)
            if step is None:
                self._replay.broken = True
                self._before = None
                continue
            if not number:
                self._check_genesis(step)
            self._replay.apply(step)
            since.append(step)
            if number not in block.entries:
                self._before = None
        return base

    def _check_entry(
        self, number: int, found: tuple[Entry, Digest], base: StateRoot | None, since: list[Step]
    ) -> None:
        entry, digest = found
        key = entry_key(number)
        if self._before is not None and entry.previous != self._before[1]:
            reason = f"entry {number} was made after another one"
            self._findings.add(entry_key(self._before[0]), reason, WHOLE_REPOSITORY)
        elif not number and entry.previous != NO_ENTRY:
            self._findings.add(key, "it says that an entry was before it", WHOLE_REPOSITORY)
        if entry.base != base or (len(since) == number % CHECKPOINT_EVERY and list(entry.since) != since):
            reason = "it repeats the entries before it otherwise than they are"
            self._findings.add(key, reason, WHOLE_REPOSITORY)
        self._before = number, digest

    def _check_genesis(self, step: Step) -> None:
        if step.operations and isinstance(step.operations[0], Genesis):
            self._replay.begin(step.operations[0])
        else:
            self._findings.add(entry_key(0), "it does not begin a repository", WHOLE_REPOSITORY)


def decode_whole(number: int, data: bytes, findings: Findings) -> Entry | None:
    """An entry, or None where it is damaged, which is noted. A newer format that is whole is raised."""
    key = entry_key(number)
    try:
        entry = decode_entry(data, key)
    except NewerFormatError:
        view = memoryview(data)
        if kind_digest(Kind.LOG_ENTRY, view[:-DIGEST_BYTES]) == bytes(view[-DIGEST_BYTES:]):
            raise
        findings.add(key, "its bytes do not match its digest", WHOLE_REPOSITORY)
        return None
    except DamagedError as error:
        findings.add(key, plain(error), WHOLE_REPOSITORY)
        return None
    if entry.number != number:
        findings.add(key, f"it is entry {entry.number}", WHOLE_REPOSITORY)
        return None
    return entry


def entry_numbers(store: Store) -> set[int]:
    """The numbers of the entries that are there."""
    found = set()
    for info in store.list(LOG_PREFIX):
        digits = info.key[len(LOG_PREFIX) :]
        if digits.isascii() and digits.isdigit() and info.key == entry_key(int(digits)):
            found.add(int(digits))
    if not found:
        raise no_repository(store.url)
    return found


def read_hint(store: Store) -> int:
    """The entry that the hint names; 0 where it is lost or says nothing, as a crash may leave it."""
    try:
        data = store.get(HINT_KEY)
    except ObjectMissingError:
        return 0
    return int(data) if data.isdigit() and len(data) <= 19 else 0
