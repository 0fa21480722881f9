"""How nodes and edges of a lineage are called, in the words that all pictures of it share."""

from __future__ import annotations

from dataver.lineage.graph import Edge
from dataver.results import Json

__all__ = ["CAME_FROM", "CAME_OF", "STATES", "edge_words", "subtitle", "title"]

STATES = {
    "absent": "not here: the history was copied in part",
    "deleted": "of a deleted dataset",
    "elsewhere": "in another repository",
    "missing": "not here",
    "damaged": "its record cannot be read",
}
CAME_FROM = {
    "parent": "follows",
    "derived": "derived from",
    "source": "from",
    "part": "part of",
    "read": "read",
    "made": "made by",
    "started": "started by",
    "in": "of the file",
    "brought": "came with",
    "same": "is",
}
"""Read from what came of it: a version `follows` its parent."""
CAME_OF = {
    "parent": "followed by",
    "derived": "made into",
    "source": "source of",
    "part": "split into",
    "read": "read by",
    "made": "made",
    "started": "started",
    "in": "in",
    "brought": "brought",
    "same": "is",
}
"""Read from what was there first."""


def title(facts: Json) -> str:
    """The node's id, short enough for a line: ids of 32 digits and more lose all but 12."""
    text = str(facts["id"])
    if facts["kind"] == "run":
        return f"run:{facts['run'][:12]}"
    for key in ("version_id", "digest"):
        digest = facts.get(key)
        if digest and digest in text:
            text = text.replace(digest, digest[:12])
    return text


def subtitle(facts: Json) -> str:
    """The other facts of a node that one wants to see at once; empty where there are none."""
    state = STATES.get(str(facts.get("state")))
    if state is not None:
        return state
    if facts["kind"] == "run":
        return "  ".join(
            filter(None, (facts["name"], facts["status"], _day(facts["started"]), facts["author"]))
        )
    if facts["kind"] == "version":
        files = f"{facts['files']:,} file" + ("" if facts["files"] == 1 else "s")
        return "  ".join(filter(None, (files, _day(facts["time"]), _first_line(facts["message"]))))
    if facts["kind"] == "file":
        return f"{facts['size']:,} bytes"
    if facts["kind"] == "source":
        return "  ".join(str(facts[key]) for key in ("licence", "collected_at", "method") if facts.get(key))
    return str(facts.get("detail") or "")


def edge_words(edge: Edge, *, up: bool) -> str:
    """`read`, `made by` …, with the role of what was read."""
    words = (CAME_FROM if up else CAME_OF).get(edge.kind, edge.kind)
    return f"{words} as {edge.role}:" if edge.role and edge.kind == "read" else words


def _day(time: str) -> str:
    return time[:16].replace("T", " ") + "Z"


def _first_line(text: str) -> str:
    return text.split("\n", 1)[0][:60]
