"""Draws what `bench_growth` found, into docs/explanation/growth.svg.

    .venv-bench/bin/python -m benchmarks.plot_growth

Needs matplotlib, which nothing else here does; `benchmarks/setup-peers` installs it beside the other tools.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TARGET = HERE.parent / "docs" / "explanation" / "growth.svg"
PANELS = (("files", "files of 512 bytes"), ("mib", "MiB in one file"))


def main() -> None:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = "growth"
    matplotlib.rcParams["svg.fonttype"] = "none"
    kept = json.loads((HERE / "growth.json").read_text())
    figure, axes = pyplot.subplots(2, 2, figsize=(11, 8), sharex="col", layout="constrained")
    for column, (kind, label) in enumerate(PANELS):
        points = {int(size): point for size, point in kept[kind].items()}
        draw(axes[0][column], points, "cpu_s", 1.0, "processor seconds, whole command")
        draw(axes[1][column], points, "resident_bytes_max", 2**20, "memory, MiB")
        axes[1][column].set_xlabel(label)
    axes[0][0].legend(frameon=False)
    figure.savefig(TARGET, metadata={"Date": None})
    print(TARGET)


def draw(axis: Any, points: dict[int, Any], name: str, unit: float, label: str) -> None:
    """One figure over the size for each command, both on a scale of powers."""
    for command in next(iter(points.values())):
        axis.plot(
            list(points), [point[command][name] / unit for point in points.values()], "o-", label=command
        )
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_ylabel(label)
    axis.grid(visible=True, which="both", alpha=0.25)


if __name__ == "__main__":
    main()
