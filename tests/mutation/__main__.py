"""`python -m tests.mutation [GROUP...]`: what the tests say to code that is a little wrong.

Each group of modules is copied below `.mutation` with the tests that are meant to guard it, and mutmut
changes one thing at a time there. The survivors are shown, and counted in a table. What was tried already is
not tried again, unless its function changed. What a run found, and why some may survive, stands in
`docs/explanation/mutation.md`.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.mutation.groups import GROUPS, Group
from tests.mutation.results import Results, read, table, try_again

PROJECT = Path(__file__).parents[2]
WORK = PROJECT / ".mutation"


def prepare(name: str, group: Group) -> Path:
    """A copy of the package and the tests, with what mutmut is to know."""
    place = WORK / name
    for folder in ("dataver", "tests"):
        left_out = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / folder, place / folder, ignore=left_out, dirs_exist_ok=True)
    dispatched = place / "dataver/log/apply.py"
    dispatched.write_text(with_named_handlers(dispatched.read_text()))
    text = (PROJECT / "pyproject.toml").read_text()
    (place / "pyproject.toml").write_text(f"{text}\n{group.settings()}")
    return place


def with_named_handlers(source: str) -> str:
    """What operations do, in methods with names of their own: mutmut leaves decorated functions alone."""
    handler = re.compile(r"    @_one\.register\n    def _\(self, operation: ([\w |]+)\)")
    kinds = handler.findall(source)
    named = handler.sub(lambda found: f"    def {_name(found[1])}(self, operation: {found[1]})", source)
    lines = [f'Applier.__dict__["_one"].register({kind}, Applier.{_name(kind)})\n' for kind in kinds]
    return named + "\n" + "".join(lines)


def _name(kinds: str) -> str:
    return "_apply_" + kinds.replace(" | ", "_or_")


def started(place: Path, module: str, *arguments: str) -> str:
    """Run a module there, with the same examples for each mutant; what it wrote."""
    environment = {**os.environ, "HYPOTHESIS_PROFILE": "mutation"}
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=place, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def run(name: str, group: Group, *, again: bool, share: float) -> Results:
    """The results of a group. `again`: survivors are tried once more, against the tests of now."""
    place = prepare(name, group)
    mutants = place / "mutants"
    started(place, "tests.mutation.sample", str(share))
    if again:
        try_again(mutants)
    started(mutants, "tests.mutation.trying", *group.tests)
    results = read(mutants)
    for survivor in results.survivors():
        sys.stdout.write(started(place, "mutmut", "show", survivor))
    return results


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)}; all without one")
    parser.add_argument("--again", action="store_true", help="try survivors again, against the tests of now")
    parser.add_argument("--share", type=float, default=1.0, help="try so many of each function's mutants")
    options = parser.parse_args()
    os.nice(19)
    names = options.groups or list(GROUPS)
    sys.stdout.write(
        table(run(name, GROUPS[name], again=options.again, share=options.share) for name in names)
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
