"""The log and its states: what can be put back from a copy of the repository, and a state written anew.

The names of entries and of the packs that they name are fixed, so nothing else can take their place. What is
missing is put back where a copy of this very repository has the same bytes, proven by the hash chain
or by the name. What is there and damaged stays: repair deletes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from itertools import takewhile

from dataver.digest import DIGEST_BYTES, Digest
from dataver.errors import DamagedError, NewerFormatError, ObjectMissingError
from dataver.format.entry import Entry, decode_entry, entry_digest
from dataver.hashing import blake3_digest
from dataver.keys import HINT_KEY, LOG_PREFIX, PACK_PREFIX, entry_key, pack_key
from dataver.results import Damage
from dataver.store.base import Store
from dataver.verify.findings import WHOLE_REPOSITORY
from dataver.verify.history import entry_numbers, read_hint


def is_of_log(damage: Damage) -> bool:
    """Whether it is of an entry, or of what leads to the newest."""
    return damage.object.startswith(LOG_PREFIX)


def harms_newest_state(damaged: Iterable[Damage], others: Collection[bytes]) -> bool:
    """Whether a pack keeps the newest state from being read. `others` are packs that hold no states."""
    keys = {pack_key(name) for name in others}
    return any(
        damage.object.startswith(PACK_PREFIX)
        and damage.object not in keys
        and WHOLE_REPOSITORY in damage.harms
        for damage in damaged
    )


def lacks_beginning(store: Store) -> bool:
    """Whether the first entries of the log are missing. `RepositoryNotFoundError` where all are."""
    return min(entry_numbers(store)) > 0


def put_beginning_back(store: Store, copies: Sequence[Store]) -> list[str]:
    """Put the first entries back where they are missing: nothing opens the log without them. Their keys."""
    # Each is proven by the one after it.
    numbers = reversed(range(min(entry_numbers(store))))
    return [entry_key(n) for n in takewhile(lambda n: _put_entry_back(store, n, copies), numbers)]


def put_back(
    store: Store, damaged: Sequence[Damage], others: Collection[bytes], copies: Sequence[Store]
) -> list[str]:
    """Put missing entries, and missing packs of states, back from copies of the repository; their keys."""
    missing = [damage.object for damage in damaged if _get(store, damage.object) is None]
    # From the newest on, as each is proven by the one after it.
    entries = sorted((key for key in missing if key.startswith(LOG_PREFIX) and key != HINT_KEY), reverse=True)
    restored = [key for key in entries if _put_entry_back(store, _number(key), copies)]
    restored += _put_tail_back(store, damaged, copies)
    keys = {pack_key(name) for name in others}
    for key in missing:
        if key.startswith(PACK_PREFIX) and key not in keys:
            name = bytes.fromhex(key[-2 * DIGEST_BYTES :])
            data = next((d for c in copies if (d := _get(c, key)) and blake3_digest(d) == name), None)
            if data is not None and store.put_new(key, data):
                restored.append(key)
    return restored


def _put_tail_back(store: Store, damaged: Sequence[Damage], copies: Sequence[Store]) -> list[str]:
    """Put entries behind the newest back, as far as the hint or this machine knows that there were some."""
    known = [read_hint(store) if damage.object == HINT_KEY else _number(damage.object) for damage in damaged]
    number = max(entry_numbers(store))
    restored: list[str] = []
    while number < max(known, default=0):
        number += 1
        data = next((d for copy in copies if (d := _following(store, copy, number))), None)
        if data is None or not store.put_new(entry_key(number), data):
            break
        restored.append(entry_key(number))
    return restored


def _following(store: Store, copy: Store, number: int) -> bytes | None:
    """The bytes of an entry of a copy, if it was made right after the one that is here."""
    last, entry = _entry(store, number - 1), _entry(copy, number)
    here = _get(store, entry_key(number - 1))
    if last is None or entry is None or here is None:
        return None
    fits = (entry.previous, entry.repository) == (_digest(here), last.repository)
    return _get(copy, entry_key(number)) if fits else None


def _number(key: str) -> int:
    """The number of an entry, by its key; 0 for another object."""
    digits = key.removeprefix(LOG_PREFIX)
    return int(digits) if key.startswith(LOG_PREFIX) and digits.isdigit() else 0


def _put_entry_back(store: Store, number: int, copies: Sequence[Store]) -> bool:
    following = _entry(store, number + 1)
    if following is None:
        return False
    before = _get(store, entry_key(number - 1)) if number else None
    for copy in copies:
        data = _get(copy, entry_key(number))
        if data is None or _digest(data) != following.previous:
            continue
        entry = _entry(copy, number)
        fits = entry is not None and entry.repository == following.repository
        if fits and entry is not None and (before is None or _digest(before) == entry.previous):
            return store.put_new(entry_key(number), data)
    return False


def _entry(store: Store, number: int) -> Entry | None:
    data = _get(store, entry_key(number))
    if data is None:
        return None
    try:
        entry = decode_entry(data, entry_key(number))
    except (DamagedError, NewerFormatError):
        return None
    return entry if entry.number == number else None


def _digest(data: bytes) -> Digest | None:
    return entry_digest(data) if len(data) >= DIGEST_BYTES else None


def _get(store: Store, key: str) -> bytes | None:
    with suppress(ObjectMissingError):
        return store.get(key)
    return None
