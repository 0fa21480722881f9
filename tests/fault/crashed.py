"""A verb on a disk whose power is cut at each moment, and what must be true of all that may be left."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from dataver.errors import RepositoryNotFoundError
from dataver.repository import Repository, open_repository
from dataver.store.base import TEMPORARY_PREFIX
from dataver.store.local import LocalStore
from dataver.values import dataclass
from tests.fault.crashes import Event, Recorder, State, Tree, crash_states, tree_of, write_tree
from tests.fault.faults import SLACK_BYTES, stored_undisturbed
from tests.fault.scenes import FOURTH, Verb, check_nothing_leaks, check_promises, write
from tests.repositories import over


@dataclass(frozen=True, slots=True)
class Crashes:
    """How many states there are, and how many of them were looked at."""

    calls: int
    states: int
    tried: int


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was on the disk before a verb, the calls by which it changed that, and the cache after each."""

    before: Tree
    events: list[Event]
    caches: list[Tree]


def recorded(verb: Verb, place: Path) -> Recorded:
    """Record a verb on a disk of its own."""
    data = write(place / "data", FOURTH)
    disk = place / "disk"
    root = verb.scene().on_disk(disk / "repository") if verb.scene().objects else disk / "repository"
    disk.mkdir(exist_ok=True)
    (place / "cache").mkdir()
    before = tree_of(disk)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATAVER_CACHE_DIR", str(place / "cache"))
        recorder = Recorder(disk, place / "cache")
        with recorder.recording():
            verb.act(over(LocalStore(root)), data)
        verb.finished(open_repository(str(root)))
    return Recorded(before, recorder.events, recorder.beside)


def check_crash_states(
    verb: Verb, place: Path, tried_max: int | None = None, draw: random.Random | None = None
) -> Crashes:
    """Look at each state, or at so many of them: it opens, what is promised is whole, a repeat completes.

    Half of them are looked at by the machine that lost its power, whose cache is as it was, and half by
    another. All of the disk's are looked at where the disk was.
    """
    found = recorded(verb, place)
    states = [*crash_states(found.before, found.events)]
    tried = states if tried_max is None or draw is None else draw.sample(states, min(tried_max, len(states)))
    bytes_max = stored_undisturbed(verb, place / "data") + SLACK_BYTES
    for number, state in enumerate(tried):
        shutil.rmtree(place / "cache", ignore_errors=True)
        shutil.rmtree(place / "disk")
        if number % 2:
            write_tree(place / "cache", found.caches[state.after])
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DATAVER_CACHE_DIR", str(place / "cache"))
            patch.setattr("os.fsync", lambda _: None)  # No more power is cut, and there are many states.
            _check(verb, state, place, bytes_max)
    return Crashes(len(found.events), len(states), len(tried))


def _check(verb: Verb, state: State, place: Path, bytes_max: int) -> None:
    disk = place / "disk"
    state.write(disk)
    url = str(disk / "repository")
    scene = verb.scene()
    if scene.objects:
        check_promises(open_repository(url), scene.promised, state)
        assert verb.harmed or open_repository(url).verify(deep=True).ok, state
        verb.between(open_repository(url))
    else:
        _opens_or_is_not_there(url)
    verb.act(Repository(url), place / "data")
    verb.finished(open_repository(url))
    check_nothing_leaks(open_repository(url), bytes_max, state)
    check_promises(open_repository(url), scene.promised, state)
    assert list(disk.rglob(f"{TEMPORARY_PREFIX}*")) == [], state


def _opens_or_is_not_there(url: str) -> None:
    try:
        open_repository(url)
    except RepositoryNotFoundError:
        return
    assert open_repository(url).verify(deep=True).ok
