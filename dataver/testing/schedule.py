"""Many threads of which one runs at a time, in an order that a seed decides.

An actor is a thread that stops wherever it calls `Scheduler.point`, which simulated stores do at each
call. Which one goes on is drawn from the seed, so that the same seed gives the same interleaving:
`Scheduler.trace` has a digest of all that happened. Actors can be killed where they stand.
"""

from __future__ import annotations

import heapq
import sys
import threading
import traceback
from collections.abc import Callable
from random import Random

from dataver.hashing import blake3_digest
from dataver.values import dataclass

__all__ = ["Actor", "Killed", "Pace", "Scheduler", "StuckError", "Trace"]

EPOCH_US = 1_900_000_000_000_000
"""When simulated time begins: a moment in 2030."""
STEP_US = (500, 60_000)
"""How much time goes by in a step: at least, and less than."""
TURN_S_MAX = 120.0
STEPS_MAX = 400_000

Effect = Callable[[], None]


class Killed(BaseException):
    """Ends the thread of an actor that was killed. Nothing may catch it and go on."""


class StuckError(Exception):
    """An actor did not come back from a turn, or the actors never come to an end."""


class Trace:
    """What happened, a line each, and a digest of it."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, line: str) -> None:
        """Note one thing that happened."""
        self.lines.append(line)

    def digest(self) -> str:
        """64 hex digits, the same for the same lines."""
        return str(blake3_digest("\n".join(self.lines).encode()))


@dataclass(frozen=True, slots=True)
class Pace:
    """How turns are given: the chance that who had the last turn has the next one too, and the chance
    that an actor is held up after a turn, for up to so many steps.
    """

    stay: float = 0.0
    hold_up: float = 0.0
    hold_up_steps: int = 300


class Actor:
    """One thread of a simulation. `error` is what ended it, where that was an error."""

    def __init__(self, name: str, scheduler: Scheduler, body: Effect) -> None:
        self.name = name
        self.done = False
        self.dead = False
        self.error: BaseException | None = None
        self.wakes_us = 0
        self.held_until = 0
        self.turn = threading.Lock()
        self.turn.acquire()
        self._scheduler = scheduler
        self._body = body
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def _run(self) -> None:
        self.turn.acquire()
        try:
            if not self.dead:
                self._body()
        except Killed:
            self.dead = True
        except BaseException as error:  # noqa: BLE001 - it is told in the scheduler's thread
            self.error = error
        finally:
            self.done = True
            self._scheduler.give_back()


class Scheduler:
    """Lets one actor run at a time. `now_us` is the simulated time, which no clock need agree with, and
    `steps` counts as it does, `turns` those that were given.

    Whatever wants to be random in a simulation takes it from `random`, or from a stream that was
    seeded from it, in the thread that has the turn.
    """

    def __init__(self, seed: str, pace: Pace = Pace()) -> None:  # noqa: B008 - immutable
        self.random = Random(f"schedule {seed}")  # noqa: S311 - a seed is to give the same again
        self.trace = Trace()
        self.now_us = EPOCH_US
        self.steps = 0
        self.turns = 0
        self.actors: list[Actor] = []
        self.before_turn: Callable[[Actor], None] | None = None
        """Told whose turn is next, in the thread that runs the simulation."""
        self.after_death: Callable[[Actor], None] | None = None
        """Told of each actor that was killed, when its thread has ended, in the same thread."""
        self._pace = pace
        self._by_thread: dict[int, Actor] = {}
        self._back = threading.Lock()
        self._back.acquire()
        self._last: Actor | None = None
        self._late: list[tuple[int, int, Effect]] = []
        self._late_made = 0
        self._stopped = False

    # For actors

    def current(self) -> Actor | None:
        """The actor whose thread asks; None in other threads."""
        return self._by_thread.get(threading.get_ident())

    def point(self) -> None:
        """Let others have their turns. Raises `Killed` in an actor that was killed."""
        actor = self._by_thread[threading.get_ident()]
        if not actor.dead:
            self.give_back()
            actor.turn.acquire()
        if actor.dead:
            raise Killed

    def sleep(self, seconds: float) -> None:
        """Let others have their turns until so much simulated time has gone by."""
        actor = self._by_thread[threading.get_ident()]
        actor.wakes_us = self.now_us + max(0, int(seconds * 1e6))
        self.point()

    def die(self) -> None:
        """Kill the actor that asks."""
        self._by_thread[threading.get_ident()].dead = True
        raise Killed

    def give_back(self) -> None:
        """The turn ends. For actors."""
        self._back.release()

    # For who runs the simulation

    def start(self, name: str, body: Effect) -> Actor:
        """A new actor, whose first turn comes as any other."""
        actor = Actor(name, self, body)
        actor.thread.start()
        assert actor.thread.ident is not None
        self._by_thread[actor.thread.ident] = actor
        self.actors.append(actor)
        return actor

    def later(self, steps: int, effect: Effect) -> None:
        """Have `effect` after so many steps, between two turns, whoever is dead by then."""
        self._late_made += 1
        heapq.heappush(self._late, (self.steps + steps, self._late_made, effect))

    def stop(self) -> None:
        """No more turns: `run` returns when the turn that is on ends."""
        self._stopped = True

    def kill_all(self) -> None:
        """Kill every actor where it stands."""
        for actor in self.actors:
            actor.dead = True

    def run(self) -> None:
        """Give turns until every actor is done, or `stop` was called. Late effects come in any case."""
        while not self._stopped:
            living = [actor for actor in self.actors if not actor.done]
            if not living:
                break
            self.steps += 1
            self.now_us += self.random.randrange(*STEP_US)
            self._do_late(self.steps)
            actor = self._choose(living)
            self._turn(actor)
            if actor.done and actor.dead and self.after_death is not None:
                self.after_death(actor)
            if self.steps > STEPS_MAX:
                raise StuckError(f"the actors have not come to an end in {STEPS_MAX} steps")
        self._do_late(sys.maxsize)

    def end(self) -> None:
        """Kill all and wait for their threads."""
        self.kill_all()
        for actor in self.actors:
            while not actor.done:
                self._turn(actor)
            actor.thread.join(TURN_S_MAX)

    def _do_late(self, until: int) -> None:
        while self._late and self._late[0][0] <= until:
            heapq.heappop(self._late)[2]()

    def _choose(self, living: list[Actor]) -> Actor:
        while True:
            ready = [
                actor
                for actor in living
                if actor.dead or (actor.wakes_us <= self.now_us and actor.held_until <= self.steps)
            ]
            if ready:
                break
            if any(actor.wakes_us <= self.now_us for actor in living):
                self.steps = min(a.held_until for a in living if a.wakes_us <= self.now_us)
            else:
                self.now_us = min(actor.wakes_us for actor in living)
        if self._last in ready and self.random.random() < self._pace.stay:
            assert self._last is not None
            return self._last
        return ready[self.random.randrange(len(ready))]

    def _turn(self, actor: Actor) -> None:
        self._last = actor
        self.turns += 1
        if self.before_turn is not None:
            self.before_turn(actor)
        actor.turn.release()
        if not self._back.acquire(timeout=TURN_S_MAX):
            frame = sys._current_frames().get(actor.thread.ident or 0)
            where = "".join(traceback.format_stack(frame, 12))
            raise StuckError(f"{actor.name} did not come back within {TURN_S_MAX:.0f} s; it is at\n{where}")
        if self._pace.hold_up and self.random.random() < self._pace.hold_up:
            actor.held_until = self.steps + self.random.randrange(self._pace.hold_up_steps)
