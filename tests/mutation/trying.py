"""`python -m tests.mutation.trying TEST...`, where mutants and tests are: asks the tests about each mutant.

The tests are collected once. Each mutant gets a copy of the process that has them, which asks only those that
come by the changed function, and ends at the first that fails: a mutant costs what its tests take.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import pytest
from mutmut.mutation import trampoline

from dataver.values import dataclass
from tests.mutation.results import UNTESTED_CODE, function_of, meta_files

_COPIES = multiprocessing.get_context("fork")
_FAILED = 1


@dataclass(frozen=True, slots=True)
class Guards:
    """Which tests come by which function, and how long each takes."""

    tests: dict[str, list[str]]
    seconds: dict[str, float]

    def of(self, function: str, items: Sequence[pytest.Item]) -> list[pytest.Item]:
        """The tests that come by a function: files in their order, of each the quickest first."""
        guards = set(self.tests.get(function, ()))
        files = {path: number for number, path in enumerate(dict.fromkeys(item.path for item in items))}
        chosen = [item for item in items if item.nodeid in guards]
        return sorted(chosen, key=lambda item: (files[item.path], self.seconds[item.nodeid]))


class Limits:
    """A plugin of pytest: a signal ends the process where a test takes far longer than it did."""

    def __init__(self, guards: Guards) -> None:
        self._guards = guards

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        limit_s = 3 + 5 * round(self._guards.seconds[nodeid])
        used = resource.getrusage(resource.RUSAGE_SELF)
        used_s = round(used.ru_utime + used.ru_stime)
        resource.setrlimit(resource.RLIMIT_CPU, (used_s + limit_s, resource.RLIM_INFINITY))
        signal.alarm(5 * limit_s)  # Of one that waits for ever.


class Watch:
    """A plugin of pytest: notes what each test comes by, and ends the process where one fails."""

    def __init__(self, complain: Callable[[str], None]) -> None:
        self._complain = complain
        self._hits: set[str] = set()
        self._came_by: defaultdict[str, set[str]] = defaultdict(set)
        self._seconds: defaultdict[str, float] = defaultdict(float)
        trampoline.record_trampoline_hit = lambda name, caller=None: self._hits.add(name)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._complain(f"{report.nodeid}\n{report.longreprtext}")
            os._exit(_FAILED)
        # What a fixture did, the other tests of the file may rely on.
        place = _file(report.nodeid) if report.when == "setup" else report.nodeid
        self._came_by[place] |= self._hits
        self._seconds[report.nodeid] += report.duration
        self._hits.clear()

    def guards(self) -> Guards:
        """What was noted of all tests that ran."""
        tests: defaultdict[str, list[str]] = defaultdict(list)
        for node in self._seconds:
            for function in self._came_by[_file(node)] | self._came_by[node]:
                tests[function].append(node)
        return Guards(dict(tests), dict(self._seconds))


class Trial:
    """A plugin of pytest: in place of running the tests once, runs some for each mutant not tried yet."""

    def __init__(self, place: Path, scratch: Path, out: TextIO) -> None:
        self._place = place
        self._scratch = scratch
        self._out = out

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            raise session.Interrupted("tests cannot be read")
        guards = self._guards(session)
        for file in meta_files(self._place):
            document = json.loads(file.read_text())
            codes = document["exit_code_by_key"]
            for name in [name for name, code in codes.items() if code is None]:
                items = guards.of(function_of(name), session.items)
                codes[name] = _asked(session, name, items, guards) if items else UNTESTED_CODE
                file.write_text(json.dumps(document, indent=4))
                self._say(f"{name} {codes[name]}")
        return True

    def _guards(self, session: pytest.Session) -> Guards:
        """By one run of all tests, with nothing changed."""
        noted = self._scratch / "guards.json"

        def note() -> None:
            watch = _run(session, "stats", session.items, self._say)
            found = watch.guards()
            noted.write_text(json.dumps([found.tests, found.seconds]))

        if _in_a_copy(note) != 0:
            raise session.Failed("a test fails though nothing is changed")
        return Guards(*json.loads(noted.read_text()))

    def _say(self, text: str) -> None:
        print(text, file=self._out, flush=True)


def _asked(session: pytest.Session, name: str, items: Sequence[pytest.Item], guards: Guards) -> int:
    """How the process ends that runs these tests with this mutant."""

    def ask() -> None:
        session.config.pluginmanager.register(Limits(guards))
        _run(session, name, items, lambda _: None)

    return _in_a_copy(ask)


def _run(
    session: pytest.Session, name: str, items: Sequence[pytest.Item], complain: Callable[[str], None]
) -> Watch:
    """Run these tests with this mutant. Ends the process at the first that fails."""
    trampoline.set_mutant_under_test(name)
    watch = Watch(complain)
    session.config.pluginmanager.register(watch)
    for item, following in zip(items, [*items[1:], None], strict=True):
        session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
    return watch


def _in_a_copy(work: Callable[[], object]) -> int:
    """Do this in a copy of the process, and end all that it leaves: how the copy ended."""

    def alone() -> None:
        os.setsid()
        code = _FAILED
        try:
            work()
            code = 0
        finally:
            os._exit(code)

    copy = _COPIES.Process(target=alone)
    copy.start()
    copy.join()
    assert copy.pid is not None
    assert copy.exitcode is not None
    with suppress(ProcessLookupError):
        os.killpg(copy.pid, signal.SIGKILL)
    return copy.exitcode


def _file(node: str) -> str:
    return node.partition("::")[0]


def main() -> int:
    place = Path.cwd()
    os.environ["PYTHONPATH"] = str(place)  # for processes that tests start
    out = os.fdopen(os.dup(1), "w")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    with tempfile.TemporaryDirectory() as scratch:
        options = ["-q", "-p", "no:cacheprovider", f"--basetemp={scratch}/tests", *sys.argv[1:]]
        return pytest.main(options, [Trial(place, Path(scratch), out)])


if __name__ == "__main__":
    sys.exit(main())
