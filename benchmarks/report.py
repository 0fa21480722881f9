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


def _cell(value: float | None, ours: float | None, is_ours: bool, width: int) -> str:
    if value is None:
        return "-"
    text = f"{value:.{width}f}"
    return text if is_ours or ours is None or value <= 0 else f"{text} ({ours / value:.2f})"


def table(value: dict[str, Any]) -> str:
    """One workload in Markdown: the best seconds of each tool, in brackets dataver's as a part of them."""
    found = {name: Measured(**one) for name, one in value["measured"].items()}
    lines = ["| | " + " | ".join(found) + " | spread |", "|---|" + "---:|" * (len(found) + 1)]
    ours = found.get("dataver")
    for phase in PHASES:
        best = {name: one.best_s(phase) for name, one in found.items()}
        if any(best.values()):
            mine = ours.best_s(phase) if ours else None
            cells = [_cell(seconds, mine, name == "dataver", 2) for name, seconds in best.items()]
            spread = max(one.spread(phase) for one in found.values())
            lines.append(f"| {PHASE_NAMES[phase]}, s | " + " | ".join(cells) + f" | {spread:.1f} |")
    for attribute, title in SIZES.items():
        sizes = {name: getattr(one, attribute) for name, one in found.items() if name != "floor"}
        if any(sizes.values()):
            mine = sizes.get("dataver")
            cells = []
            for name in found:
                size = sizes.get(name)
                in_mib, mine_mib = (None if one is None else one / 2**20 for one in (size, mine))
                cells.append(_cell(in_mib, mine_mib, name == "dataver", 1))
            lines.append(f"| {title} | " + " | ".join(cells) + " | |")
    return "\n".join(lines)


def section(name: str, value: dict[str, Any]) -> str:
    """One workload with its heading and what has to be known to judge the figures."""
    tools = ", ".join(value["tools"].values())
    size = f"{value['files']:,} files, {value['size_bytes'] / 2**20:,.0f} MiB"
    how = f"best of {value['rounds']} rounds, {value['cache']} page cache"
    where = f"{value['date']} on {value['machine']}"
    return f"### {name}\n\n{table(value)}\n\n{size}; {how}; {where}; {tools}.\n"


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
