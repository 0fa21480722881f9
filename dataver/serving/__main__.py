"""The process that commits what a service has captured; `Capture` starts it, with a document on its input.

{"folder", "url", "dataset", "storage_options", "author", "now": seconds since 1970}
"""

from __future__ import annotations

import json
import sys


def main() -> int:
    """Commit what waits; the exit code is that of the command line."""
    from dataver.errors import DataverError
    from dataver.repository import open_repository
    from dataver.serving.committing import commit_waiting

    asked = json.load(sys.stdin)
    try:
        repository = open_repository(asked["url"], storage_options=asked["storage_options"] or None)
        commit_waiting(
            repository, asked["dataset"], asked["folder"], now_s=asked["now"], author=asked["author"]
        )
    except DataverError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
