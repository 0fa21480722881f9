"""What all machines have in common: a repository object of their own, and deeds by weight.

What a machine is told is held against the ledger: what was acknowledged is in the log, what was
refused is not, and what a reader gets is what was committed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dataver.errors import (
    AlreadyExistsError,
    BadInputError,
    ConflictError,
    DamagedError,
    NotFoundError,
    StoreError,
)
from dataver.repository import Repository
from dataver.store.cached import CachedStore
from dataver.store.disk_cache import DiskCache
from dataver.testing.machines import Machine
from dataver.testing.simulated import SimulatedStore
from tests.repositories import Over
from tests.simulation.ledger import Known, Ledger

if TYPE_CHECKING:
    from tests.simulation.world import World

REFUSED = (ConflictError, AlreadyExistsError, NotFoundError, BadInputError)
CACHE_BYTES = 16 << 20


class Someone:
    """An actor: what it can do in one repository, and how often it does each."""

    def __init__(self, world: World, machine: Machine, store: SimulatedStore, ledger: Ledger) -> None:
        self.world = world
        self.machine = machine
        self.store = store
        self.draw = world.draw
        self.ledger = ledger
        self.elsewhere: Someone | None = None
        """The same one, in the other repository."""
        self.cache = DiskCache(machine.folder, CACHE_BYTES) if world.plan.cached else None
        self.repository = self._opened()

    @property
    def deeds(self) -> dict[Callable[[], object], int]:
        """What this one does, with weights."""
        raise NotImplementedError

    def live(self, count: int) -> None:
        """Do so many things, and now and then begin with nothing in memory."""
        for _ in range(count):
            if self.draw.random() < 0.1:
                self.machine.clock.set(self.world.wrong_by(), self.world.scheduler.now_us)
            away = self.elsewhere is not None and self.draw.random() < 0.3
            (self.elsewhere if away and self.elsewhere else self).do_something()

    def do_something(self) -> None:
        """One thing, by its weight."""
        if self.draw.random() < 0.3:
            self.repository = self._opened()
        deeds = self.deeds
        self._do(self.draw.choices(list(deeds), list(deeds.values()))[0])

    def _do(self, deed: Callable[[], object]) -> None:
        name = getattr(deed, "__name__", "")
        self.world.note(self.machine.name, f"begins {name}")
        try:
            deed()
            outcome = "done"
        except DamagedError as error:
            outcome = f"damaged: {error}"
            self.world.alarmed(self.machine.name, name, error)
        except (*REFUSED, StoreError) as error:
            outcome = f"{type(error).__name__}: {str(error)[:200]}"
        self.world.note(self.machine.name, f"ends {name}: {outcome}")

    def _opened(self) -> Repository:
        """A repository object as a new process has it, over the store as this machine reaches it."""
        store = self.store if self.cache is None else CachedStore(self.store, self.cache)
        return Over(store, "memory://simulation", jobs=1)

    def expect(self, holds: bool, what: str) -> None:
        """Whether the ledger agrees with what this machine was told."""
        if not holds:
            self.ledger.found(f"{self.machine.name} was told {what}, and the log has it not so")

    def dataset_id(self, name: str) -> str:
        """The id of a dataset, of one that is deleted too."""
        found = self.ledger.names.get(name)
        return (found or next(id for id, old in self.ledger.deleted.items() if old == name)).hex()

    def some_name(self, among: Callable[[str], bool] = lambda _: True) -> tuple[str, Known] | None:
        """A ref that leads to something now, and the version."""
        found = [pair for pair in self.ledger.named() if among(pair[0])]
        return self.draw.choice(found) if found else None
