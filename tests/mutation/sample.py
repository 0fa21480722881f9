"""`python -m tests.mutation.sample SHARE`, where all is prepared: makes the mutants and chooses some."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from random import Random

from mutmut.__main__ import copy_also_copy_files, copy_src_dir, create_mutants, setup_source_paths
from mutmut.mutation.file_mutation import filter_mutants_with_type_checker

from tests.mutation.results import LEFT_OUT, REFUSED_CODE, SKIPPED, Results, meta_files

SEED = 1


def choose(share: float) -> None:
    """Of each function's mutants that types let through, have this share tried, and one at least.

    What was tried before, of code that is the same, stays as it was found.
    """
    os.makedirs("mutants", exist_ok=True)
    copy_src_dir()
    copy_also_copy_files()
    setup_source_paths()
    create_mutants(1)
    refused = filter_mutants_with_type_checker()
    if not refused:
        raise SystemExit("types refuse no mutant at all, so mypy did not run: run it again")
    for file in meta_files(Path("mutants")):
        document = json.loads(file.read_text())
        codes = document["exit_code_by_key"]
        codes |= dict.fromkeys((name for name in codes if name in refused), REFUSED_CODE)
        left = Results(dict.fromkeys((name for name in codes if name not in refused), LEFT_OUT))
        for function, names in left.by_function().items():
            count = min(len(names) - 1, round((1 - share) * len(names)))
            skipped = Random(f"{SEED} {function}").sample(names, count)
            for name in names:
                if codes[name] in (None, SKIPPED):
                    codes[name] = SKIPPED if name in skipped else None
        file.write_text(json.dumps(document, indent=4))


if __name__ == "__main__":
    choose(float(sys.argv[1]))
