"""What mutmut found, as it keeps it beside the changed modules."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from dataver.values import dataclass

REFUSED, KILLED, TIMED_OUT, SURVIVED, UNTESTED, LEFT_OUT = (
    "by types",
    "by tests",
    "timed out",
    "survived",
    "no test",
    "not tried",
)
UNTESTED_CODE, SKIPPED, REFUSED_CODE = 33, 34, 37
"""What is kept, as by mutmut, for one that no test comes by, is not to be tried, or is refused by types."""
_OF_EXIT_CODE = {
    None: LEFT_OUT,
    SKIPPED: LEFT_OUT,
    0: SURVIVED,
    UNTESTED_CODE: UNTESTED,
    REFUSED_CODE: REFUSED,
}
_BY_SIGNAL = {-signal.SIGXCPU, -signal.SIGALRM}  # of a limit of time


@dataclass(frozen=True, slots=True)
class Results:
    """What became of each mutant, by its name: `dataver.gc.run.x_collect__mutmut_7`."""

    outcomes: dict[str, str]

    def survivors(self) -> list[str]:
        """Those that no test told from the code as it is."""
        return sorted(name for name, outcome in self.outcomes.items() if outcome in (SURVIVED, UNTESTED))

    def by_function(self) -> dict[str, list[str]]:
        """The mutants of each function."""
        found: dict[str, list[str]] = {}
        for name in self.outcomes:
            found.setdefault(function_of(name), []).append(name)
        return found


def function_of(name: str) -> str:
    """The function that a mutant is of."""
    return name.partition("__mutmut_")[0]


def meta_files(place: Path) -> list[Path]:
    """The files in which mutmut keeps what became of the mutants of a module, below where these are."""
    return sorted((place / "dataver").rglob("*.py.meta"))


def read(place: Path) -> Results:
    """The results that lie beside the mutants in a place."""
    outcomes: dict[str, str] = {}
    for file in meta_files(place):
        for name, code in json.loads(file.read_text())["exit_code_by_key"].items():
            outcomes[name] = _outcome(code)
    return Results(outcomes)


def try_again(place: Path) -> None:
    """Have the survivors beside the mutants in a place count as not tried."""
    for file in meta_files(place):
        document = json.loads(file.read_text())
        codes = document["exit_code_by_key"]
        codes |= {name: None for name, code in codes.items() if _outcome(code) in (SURVIVED, UNTESTED)}
        file.write_text(json.dumps(document, indent=4))


def _outcome(code: int | None) -> str:
    if code in _BY_SIGNAL:
        return TIMED_OUT
    return _OF_EXIT_CODE.get(code, KILLED)


def table(results: Iterable[Results]) -> str:
    """A row a module, as Markdown."""
    columns = (REFUSED, KILLED, TIMED_OUT, SURVIVED, UNTESTED, LEFT_OUT)
    counts: dict[str, Counter[str]] = {}
    for one in results:
        for name, outcome in one.outcomes.items():
            module = function_of(name).rpartition(".")[0]
            counts.setdefault(module, Counter())[outcome] += 1
    lines = [f"| Module | Mutants | {' | '.join(columns)} |", f"|---{'|---:' * (len(columns) + 1)}|"]
    for module, count in counts.items():
        cells = (str(count[column]) for column in columns)
        lines.append(f"| `{module}` | {count.total()} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
