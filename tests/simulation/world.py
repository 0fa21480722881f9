"""One simulated life of a repository, from its seed: the machines, the weather, and the last look."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar

import dataver.gc.repack
from dataver.errors import DamagedError
from dataver.format.operations import ConfigSet
from dataver.testing.machines import Isolation, Machine, WrongClock
from dataver.testing.schedule import Actor, Pace, Scheduler, StuckError
from dataver.testing.simulated import Bucket, Faults, SimulatedStore
from tests.simulation.contents import SMALL_CHUNKS
from tests.simulation.last_look import LastLook
from tests.simulation.ledger import Attempt, Ledger
from tests.simulation.readers import DAY_S, Collector, Reader
from tests.simulation.someone import REFUSED, Someone
from tests.simulation.writers import SHARED, Keeper, Writer

Role = TypeVar("Role", bound=Someone)
AUTHOR = "A Machine <machine@example.org>"
DEATHS_MAX = 12
OFF_S_MAX = 30 * DAY_S
CALM = Faults()


@dataclass(frozen=True, slots=True)
class Plan:
    """What one seed is like. `deeds` is how many things each machine does; `entries` how many the log begins
    with; `dead_bytes_min` from where packs are rewritten.
    """

    writers: int
    readers: int
    collectors: int
    deeds: int
    entries: int
    pace: Pace
    faults: Faults
    power_failures: int
    cached: bool
    erases: bool
    mirrored: bool
    pack_bytes_max: int
    dead_bytes_min: int


def plan_of(seed: int, actors: int | None = None, deeds: int | None = None) -> Plan:
    """The plan of a seed. `actors` and `deeds`: how many, in place of what the seed says."""
    draw = Random(f"plan {seed}")
    rough = draw.choice([0.0, 0.002, 0.01, 0.04])
    faults = Faults(
        before=rough,
        after=rough,
        late=rough / 2,
        die=draw.choice([0.0, 0.0, 0.01, 0.04]),
        hint_lost=draw.choice([0.0, 0.1, 0.9]),
        outage=draw.choice([0.0, rough / 20]),
        reads=draw.choice([0.02, 0.02, 0.3]),
    )
    pace = Pace(
        draw.choice([0.0, 0.5, 0.9, 0.97]), draw.choice([0.0, 0.001, 0.01]), draw.choice([30, 300, 2000])
    )
    writers, readers, collectors = draw.randrange(2, 5), draw.randrange(1, 3), draw.randrange(1, 4)
    if actors is not None:
        writers, collectors = max(1, actors - 2 * (actors // 3)), max(1, actors // 3)
        readers = max(0, actors - writers - collectors)
    return Plan(
        writers,
        readers,
        collectors,
        deeds=deeds or draw.randrange(5, 20),
        entries=draw.choice([0, 0, 8, 56, 60]),
        pace=pace,
        faults=faults,
        power_failures=draw.choice([0, 0, 0, 1, 2]),
        cached=draw.random() < 0.3,
        erases=draw.random() < 0.3,
        mirrored=draw.random() < 0.4,
        pack_bytes_max=draw.choice([1 << 26, 1 << 26, 16 << 10]),
        dead_bytes_min=draw.choice([1 << 20, 1000, 1000]),
    )


@dataclass(slots=True)
class Outcome:
    """What came of a seed. `counts` are of turns, calls, faults and so on."""

    seed: int
    findings: list[str]
    counts: Counter[str]
    digest: str
    trace: list[str] = field(default_factory=list)


class World:
    """The life of one seed. Used once."""

    def __init__(self, seed: int, plan: Plan) -> None:
        self.seed = seed
        self.plan = plan
        self.draw = Random(f"deeds {seed}")
        self.scheduler = Scheduler(str(seed), plan.pace)
        self.folder = tempfile.mkdtemp(prefix="simulation-", dir=memory_folder())
        self.store_clock = WrongClock(self.wrong_by(), 0.0, self.scheduler.now_us)
        self.findings: list[str] = []
        self.buckets, self.ledgers = [], []
        for name in ("first", "mirror") if plan.mirrored else ("first",):
            self.buckets.append(Bucket(name, self._store_time, pack_bytes_max=plan.pack_bytes_max))
            self.ledgers.append(Ledger(self.buckets[-1], self.scheduler.stop, self.findings))
        self.ledger = self.ledgers[0]
        self.ledger.twin, self.ledgers[-1].twin = self.ledgers[-1], self.ledger
        self.counts: Counter[str] = Counter()
        self.machines: dict[str, Machine] = {}
        self._stores: list[SimulatedStore] = []
        self._bodies: dict[str, tuple[type[Someone], int]] = {}
        self._messages = 0
        self._numbers = 0

    def live(self) -> Outcome:
        """Everything, and what came of it."""
        try:
            with self._surroundings(), Isolation(self.scheduler, self.machines):
                self._begin()
                if not self.findings:
                    self._days()
                if not self.findings:
                    self._end()
                self.scheduler.end()
        except StuckError as error:
            self.findings.append(str(error))
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
        return Outcome(
            self.seed, self.findings, self._counted(), self.scheduler.trace.digest(),
            self.scheduler.trace.lines,
        )  # fmt: skip

    # For actors

    def note(self, who: str, what: str) -> None:
        """A line of the trace that is no call."""
        self.scheduler.trace.add(f"{self.scheduler.steps} {who} {what}")

    def number(self) -> int:
        """A number that nobody had before."""
        self._numbers += 1
        return self._numbers

    def wrong_by(self) -> float:
        """How wrong a clock is, in seconds."""
        return self.draw.choice([0.0, self.draw.uniform(-OFF_S_MAX, OFF_S_MAX)])

    def alarmed(self, who: str, what: str, error: DamagedError) -> None:
        """Somebody was told of damage, where nothing is damaged."""
        self.ledger.found(f"{who} was told of damage by {what}: {error!r}")

    @contextmanager
    def attempting(self, attempt: Attempt) -> Iterator[str]:
        """A change under a message of its own; where it is refused, nothing of it may be in the log."""
        self._messages += 1
        message = f"change-{self._messages}"
        self.ledger.attempts[message] = attempt
        try:
            yield message
        except REFUSED as error:
            if any(known.message == message for known in self.ledger.versions.values()):
                self.ledger.found(f"{message} was refused and is recorded all the same: {error!r}")
            raise

    # The parts of a life

    def _begin(self) -> None:
        """A repository with two datasets, and a log of some length."""
        machine = self._machine("first")

        def body() -> None:
            first = self._someone(Writer, machine, CALM)
            first.repository.session.create(SMALL_CHUNKS)
            if first.elsewhere is not None:
                first.elsewhere.repository.session.create(SMALL_CHUNKS)
            for dataset in SHARED:
                first.begin_dataset(dataset)
            session = first.repository.session
            for number in range(self.plan.entries):
                setting = ConfigSet("sim.padding", str(number))
                session.log.append(lambda _, one=setting: (one,), session.who(None))  # type: ignore[misc]

        self.scheduler.start("first", body)
        self.scheduler.run()
        self._look_at_errors()

    def _days(self) -> None:
        roles = [(Writer, self.plan.writers), (Reader, self.plan.readers), (Collector, self.plan.collectors)]
        self.scheduler.after_death = self._died
        for role, count in roles:
            for number in range(count):
                self._start(role, f"{role.__name__.lower()}{number}", self.plan.deeds)
        for _ in range(self.plan.power_failures):
            self.scheduler.later(self.draw.randrange(50, 3000), self._power_failure)
        self.scheduler.run()
        self.scheduler.after_death = None
        self._look_at_errors()

    def _end(self) -> None:
        machine = self._machine("last")

        def body() -> None:
            for bucket, ledger in zip(self.buckets, self.ledgers, strict=True):
                LastLook(self, machine, self._store(bucket, CALM), ledger).look()

        self.scheduler.start("last", body)
        self.scheduler.run()
        self._look_at_errors()

    def _start(self, role: type[Someone], name: str, deeds: int) -> Actor:
        machine = self.machines.get(name) or self._machine(name)
        self._bodies[name] = role, deeds

        def body() -> None:
            self._someone(role, machine, self.plan.faults).live(deeds)

        return self.scheduler.start(name, body)

    def _died(self, actor: Actor) -> None:
        """A machine whose program died runs it again, with what is left in its cache."""
        self.counts["deaths"] += 1
        self.machines[actor.name].stamp(self.scheduler.now_us)
        self.note(actor.name, "died")
        if self.counts["deaths"] <= DEATHS_MAX:
            role, deeds = self._bodies[actor.name]
            again = self._start(role, actor.name, max(2, deeds // 2))
            again.held_until = self.scheduler.steps + self.draw.randrange(300)

    def _power_failure(self) -> None:
        """Everything stops at once, the store too."""
        living = [actor for actor in self.scheduler.actors if not actor.done]
        if living:
            self.counts["power failures"] += 1
            self.note("all", "power failure")
            self.scheduler.kill_all()
            for bucket in self.buckets:
                bucket.crash(self.scheduler.random)

    def _look_at_errors(self) -> None:
        for actor in self.scheduler.actors:
            if actor.error is not None:
                self.ledger.found(f"{actor.name} came upon {told(actor.error)}")
        self.scheduler.actors = [actor for actor in self.scheduler.actors if not actor.done]

    def _machine(self, name: str) -> Machine:
        clock = WrongClock(self.wrong_by(), self.draw.choice([0.0, 1e-4, -0.5, 3.0]), self.scheduler.now_us)
        folder = os.path.join(self.folder, name)
        self.machines[name] = Machine(name, folder, clock, Random(f"entropy {self.seed} {name}"))
        return self.machines[name]

    def _someone(self, role: type[Role], machine: Machine, faults: Faults) -> Role:
        """Who is at work in the first repository, and now and then in the other one."""
        one = role(self, machine, self._store(self.buckets[0], faults), self.ledgers[0])
        if self.plan.mirrored:
            away = Keeper if issubclass(role, Writer) else role
            one.elsewhere = away(self, machine, self._store(self.buckets[1], faults), self.ledgers[1])
        return one

    def _store(self, bucket: Bucket, faults: Faults) -> SimulatedStore:
        store = SimulatedStore(bucket, self.scheduler, faults, len(self._stores) + 1)
        self._stores.append(store)
        return store

    def _store_time(self) -> float:
        """The store's clock is wrong too, and is set now and then."""
        if self.scheduler.random.random() < 0.002:
            self.store_clock.set(self.scheduler.random.uniform(-OFF_S_MAX, OFF_S_MAX), self.scheduler.now_us)
        return self.store_clock.now_us(self.scheduler.now_us) / 1e6

    def _counted(self) -> Counter[str]:
        counts = self.counts + self.ledgers[0].counts
        counts["turns"] = self.scheduler.turns
        counts["calls"] = sum(store.calls for store in self._stores)
        counts["faults"] = sum(store.injected for store in self._stores)
        counts["bytes written"] = sum(bucket.written_bytes for bucket in self.buckets)
        for ledger in self.ledgers:
            counts["entries"] += ledger.entry + 1
            counts["versions"] += len(ledger.versions)
            counts["swept"] += len(ledger.swept)
        for ledger in self.ledgers[1:]:
            counts += ledger.counts
        return counts

    @contextmanager
    def _surroundings(self) -> Iterator[None]:
        """The same for all machines: no settings but the author, and from where packs are rewritten."""
        with ExitStack() as undo:
            before = dict(os.environ)
            undo.callback(_restore, before)
            for name in before:
                if name.startswith("DATAVER_"):
                    del os.environ[name]
            os.environ["DATAVER_AUTHOR"] = AUTHOR
            module: Any = dataver.gc.repack
            undo.callback(setattr, module, "DEAD_BYTES_MIN", module.DEAD_BYTES_MIN)
            module.DEAD_BYTES_MIN = self.plan.dead_bytes_min
            yield


def live(seed: int, actors: int | None = None, deeds: int | None = None) -> Outcome:
    """Live the life of a seed; see `plan_of`."""
    began = time.perf_counter()
    outcome = World(seed, plan_of(seed, actors, deeds)).live()
    outcome.counts["milliseconds"] = int(1000 * (time.perf_counter() - began))
    return outcome


def told(error: BaseException) -> str:
    """An error with where it came from."""
    import traceback

    return "".join(traceback.format_exception(error, limit=-8))


def memory_folder() -> str | None:
    """A folder in memory for the machines' disks, where there is one."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _restore(environment: dict[str, str]) -> None:
    for name in {*os.environ, *environment}:
        if name in environment:
            os.environ[name] = environment[name]
        else:
            os.environ.pop(name)
