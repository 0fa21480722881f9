"""What dataver aims at in each phase, as a part of the best tool beside it, and whether it gets there.

The aims were set before, beside the tools named here. A tool that was not measured then counts for the column
*best peer* of the tables, and not for the aim.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

EVERY = ("borg", "dvc", "restic", "xet", "oxen", "casync")
FILES = ("borg", "dvc", "restic", "xet", "oxen")
LABELS = ("borg", "dvc", "restic")


@dataclass(frozen=True, slots=True)
class Part:
    """At most `limit` of the least that any of these tools needs."""

    limit: float
    tools: tuple[str, ...]

    def judged(self, ours: float, others: Mapping[str, float]) -> str | None:
        """In words; None where none of the tools was measured, or needed nothing."""
        best = least(others, self.tools)
        if best is None:
            return None
        part = ours / others[best]
        return f"{self.limit:.2f} of {best}: {part:.2f}, {_verdict(part, self.limit)}"


@dataclass(frozen=True, slots=True)
class AtMost:
    """At most `limit`, in the unit of the row."""

    limit: float

    def judged(self, ours: float, _others: Mapping[str, float]) -> str:
        return f"{self.limit:.1f}: {ours:.1f}, {_verdict(ours, self.limit)}"


def _verdict(value: float, limit: float) -> str:
    return "met" if value <= limit else "missed"


def least(values: Mapping[str, float], tools: tuple[str, ...]) -> str | None:
    """The tool with the least value above 0; None where there is none."""
    return min((tool for tool in tools if values.get(tool, 0) > 0), key=values.__getitem__, default=None)


AIMS: dict[str, dict[str, tuple[Part | AtMost, ...]]] = {
    "small": {
        "first_commit": (Part(0.5, FILES),),
        "nothing_changed": (Part(0.3, FILES),),
        "commit_changed": (Part(0.3, FILES),),
        "restore": (Part(0.4, FILES),),
        "stored_bytes": (Part(1.03, FILES),),
        "growth_bytes": (AtMost(10.3),),
    },
    "labels": {
        "first_commit": (Part(0.5, LABELS),),
        "restore": (Part(0.4, LABELS),),
        "stored_bytes": (AtMost(18.0), Part(1.03, LABELS)),
    },
    "parquet": {
        "first_commit": (Part(0.8, EVERY),),
        "nothing_changed": (Part(0.8, EVERY),),
        "commit_changed": (Part(0.8, EVERY),),
        "restore": (Part(0.8, EVERY),),
        "stored_bytes": (Part(1.03, EVERY),),
        "growth_bytes": (AtMost(33.0),),
    },
    "blob": {
        "first_commit": (Part(0.8, EVERY), Part(1.1, ("floor",))),
        "nothing_changed": (Part(0.5, EVERY),),
        "commit_changed": (Part(0.8, EVERY),),
        "restore": (Part(0.8, EVERY),),
        "stored_bytes": (Part(1.03, EVERY),),
        "growth_bytes": (AtMost(2.1),),
    },
}
"""By workload and row of its table. Sizes are in MiB. For full scale only."""
