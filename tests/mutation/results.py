"""What mutmut found, as it keeps it beside the changed modules."""

from __future__ import annotations

import json
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
SKIPPED = 34
"""What mutmut keeps for one that it is not to try."""
_OF_EXIT_CODE = {
    None: LEFT_OUT,
    SKIPPED: LEFT_OUT,
    0: SURVIVED,
    5: UNTESTED,
    33: UNTESTED,
    36: TIMED_OUT,
    37: REFUSED,
}
_BY_SIGNAL = {24, 152, 255, -24, -9}  # of a limit of time


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
            found.setdefault(name.partition("__mutmut_")[0], []).append(name)
        return found


def meta_files(place: Path) -> list[Path]:
    """The files in which mutmut keeps what became of the mutants of a module."""
    return sorted((place / "mutants" / "dataver").rglob("*.py.meta"))


def read(place: Path) -> Results:
    """The results that lie in a place where mutmut ran."""
    outcomes: dict[str, str] = {}
    for file in meta_files(place):
        for name, code in json.loads(file.read_text())["exit_code_by_key"].items():
            outcomes[name] = _outcome(code)
    return Results(outcomes)


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
            module = name.partition("__mutmut_")[0].rpartition(".")[0]
            counts.setdefault(module, Counter())[outcome] += 1
    lines = [f"| Module | Mutants | {' | '.join(columns)} |", f"|---{'|---:' * (len(columns) + 1)}|"]
    for module, count in counts.items():
        cells = (str(count[column]) for column in columns)
        lines.append(f"| `{module}` | {count.total()} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
