"""The packages of an interpreter. Others run this text as it stands, so it imports nothing of dataver."""

from __future__ import annotations

import json
import platform
import sys
from importlib.metadata import distributions


def interpreter() -> tuple[str, str, dict[str, str]]:
    """Version and kind of the interpreter that runs this, and the releases of its packages by name."""
    found: dict[str, str] = {}
    for one in distributions():
        # The head alone: parsing the long description of each takes ten times as long.
        head = (one.read_text("METADATA") or one.read_text("PKG-INFO") or "").split("\n\n", 1)[0]
        fields = dict(line.split(": ", 1) for line in head.splitlines() if ": " in line)
        if "Name" in fields:
            found.setdefault(
                fields["Name"], fields.get("Version", "")
            )  # The first is the one that is imported.
    return platform.python_version(), platform.python_implementation(), found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(interpreter()))
