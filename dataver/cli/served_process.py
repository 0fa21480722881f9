"""The process that commits what a service has captured; the service gives it a document on its input.

    {"folder", "url", "dataset", "storage_options", "author", "now": seconds since 1970}

No verb: storage options may hold what no list of processes should show.
"""

from __future__ import annotations

import json
import sys

from dataver.cli import observing
from dataver.errors import DataverError
from dataver.serving.committer import BUSY


def main() -> int:
    """Commit what waits; the exit code is that of the program, or `BUSY`."""
    from dataver.repository import open_repository
    from dataver.serving.committing import commit_waiting

    asked = json.load(sys.stdin)
    end = observing.begin("served")
    code = 0
    try:
        repository = open_repository(asked["url"], storage_options=asked["storage_options"] or None)
        served = commit_waiting(
            repository, asked["dataset"], asked["folder"], now_s=asked["now"], author=asked["author"]
        )
        code = BUSY if served is None else 0
    except DataverError as error:
        sys.stderr.write(f"{error}\n")
        code = error.exit_code
    if end is not None:
        end(0 if code == BUSY else code)
    return code


if __name__ == "__main__":
    sys.exit(main())
