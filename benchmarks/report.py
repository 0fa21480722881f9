"""Results as JSON, and as the tables of README.md."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.aims import AIMS, EVERY, least
from benchmarks.drive import Measured
from benchmarks.peer import PHASES, Peer
from benchmarks.peers import PEERS
from benchmarks.workloads import Workload

HERE = Path(__file__).resolve().parent
README = HERE / "README.md"
PUBLISHED = HERE / "results.json"
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"

PHASE_NAMES = dict(
    zip(
        PHASES,
        ("first commit", "commit, nothing changed", "status", "commit of the edit", "restore"),
        strict=True,
    )
)
SIZES = {"stored_bytes": "stored, MiB", "growth_bytes": "growth by the edit, MiB"}


def machine(folder: Path) -> str:
    """The machine in one line: processor, cores, memory, kernel, and the file system that holds `folder`."""
    facts = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            facts = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    df = subprocess.run(["df", "--output=fstype", str(folder)], capture_output=True, text=True, check=True)
    file_system = df.stdout.split()[-1]
    system = f"Linux {platform.release()}, {file_system}, Python {platform.python_version()}"
    return f"{facts}, {os.cpu_count()} cores, {memory:.0f} GiB, {system}"


def entry(workload: Workload, found: dict[str, Measured], *, cold: bool, folder: Path) -> dict[str, Any]:
    """All that is to be kept of one workload's measurements."""
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": machine(folder),
        "cache": "cold" if cold else "warm",
        "rounds": max(len(times) for one in found.values() for times in one.phases.values()),
        "scale": workload.scale,
        "files": workload.files,
        "size_bytes": workload.size_bytes,
        "tools": {name: PEERS[name].version() for name in found},
        "measured": {name: one.to_json() for name, one in found.items()},
    }


def save(path: Path, name: str, value: dict[str, Any]) -> None:
    """Puts one entry into the JSON file of results; the others stay."""
    every = json.loads(path.read_text()) if path.exists() else {}
    every[name] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(every, indent=1) + "\n")


def _row(title: str, name: str, row: str, values: dict[str, float | None], spread: str, width: int) -> str:
    """One line: each tool's value, in brackets dataver's as a part of it; the best peer; the aim."""
    known = {tool: value for tool, value in values.items() if value is not None}
    ours = known.get("dataver")

    def cell(tool: str) -> str:
        value = known.get(tool)
        if value is None:
            return "-"
        text = f"{value:.{width}f}"
        return text if tool == "dataver" or ours is None or value <= 0 else f"{text} ({ours / value:.2f})"

    beside, verdicts = "-", []
    if ours is not None:
        if best := least(known, EVERY):
            beside = f"{best} ({ours / known[best]:.2f})"
        aims = AIMS.get(name, {}).get(row, ())
        verdicts = [verdict for aim in aims if (verdict := aim.judged(ours, known))]
    cells = [title, *map(cell, values), spread, beside, "; ".join(verdicts)]
    return f"| {' | '.join(cells)} |"


def table(name: str, value: dict[str, Any]) -> str:
    """One workload in Markdown: the best seconds of each tool, in brackets dataver's as a part of them."""
    found = {tool: Measured(**one) for tool, one in value["measured"].items()}
    aimed = name if value["scale"] == 1.0 else ""
    lines = [
        "| | " + " | ".join(found) + " | spread | best peer | aim |",
        "|---|" + "---:|" * (len(found) + 1) + "---|---|",
    ]
    for phase in PHASES:
        best = {tool: one.best_s(phase) for tool, one in found.items()}
        if any(best.values()):
            spread = max(one.spread(phase) for one in found.values())
            lines.append(_row(f"{PHASE_NAMES[phase]}, s", aimed, phase, best, f"{spread:.1f}", 2))
    for attribute, title in SIZES.items():
        sizes = {
            tool: None if tool == "floor" else _mib(getattr(one, attribute)) for tool, one in found.items()
        }
        if any(sizes.values()):
            lines.append(_row(title, aimed, attribute, sizes, "", 1))
    return "\n".join(lines)


def _mib(size_bytes: int | None) -> float | None:
    return None if size_bytes is None else size_bytes / 2**20


def section(name: str, value: dict[str, Any]) -> str:
    """One workload with its heading and what has to be known to judge the figures."""
    tools = ", ".join(value["tools"].values())
    size = f"{value['files']:,} files, {value['size_bytes'] / 2**20:,.0f} MiB"
    how = f"best of {value['rounds']} rounds, {value['cache']} page cache"
    where = f"{value['date']} on {value['machine']}"
    return f"### {name}\n\n{table(name, value)}\n\n{size}; {how}; {where}; {tools}.\n"


def publish(name: str, value: dict[str, Any]) -> None:
    """Keeps a full-scale entry in `results.json` and writes the tables of README.md anew from all of them."""
    save(PUBLISHED, name, value)
    every: dict[str, Any] = json.loads(PUBLISHED.read_text())
    text = README.read_text()
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise RuntimeError(
            f"{README} lacks the lines {BEGIN} and {END}: put them back where the tables belong"
        )
    body = "\n".join(section(one, every[one]) for one in every)
    README.write_text(f"{head}{begin}\n\n{body}\n{end}{tail}")


def installed(names: Sequence[str]) -> list[type[Peer]]:
    """The tools of these names that are here; the others are named on standard output."""
    missing = [name for name in names if PEERS[name].program() is None]
    if missing:
        print(f"not installed, left out: {', '.join(missing)} (`benchmarks/setup-peers` installs them)")
    return [PEERS[name] for name in names if name not in missing]
