"""What an insertion costs: 14 bytes in the middle of an incompressible file of 24 MiB.

    python -m benchmarks.bench_insert

The bytes that each tool's repository grew by when the file was committed again; of dataver also the plain
bytes of new chunks. No timing.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from benchmarks import report
from benchmarks.peers import Dataver
from benchmarks.run import options_of
from benchmarks.workloads import SEED

SIZE_BYTES = 24 << 20
INSERTED = b"fourteen bytes"
TOOLS = ["dataver", "borg", "dvc", "restic"]


def main() -> None:
    parser = options_of("Growth by an insertion.")
    parser.add_argument(
        "--files", type=int, default=5, help="how many different files to try; the largest growth counts"
    )
    options = parser.parse_args()
    kinds = report.installed(TOOLS)
    growth = {kind.name: 0 for kind in kinds}
    new_bytes = 0
    for seed in range(options.files):
        folder: Path = options.folder / "insert"
        shutil.rmtree(folder, ignore_errors=True)
        source = folder / "work" / "data"
        source.mkdir(parents=True)
        content = np.random.Generator(np.random.SFC64([SEED, seed])).bytes(SIZE_BYTES)
        (source / "file.bin").write_bytes(content)
        peers = [kind(folder / kind.name, source) for kind in kinds]
        for peer in peers:
            peer.init()
            peer.first_commit()
        before = {peer.name: peer.stored_bytes() for peer in peers}
        middle = SIZE_BYTES // 2
        (source / "file.bin").write_bytes(content[:middle] + INSERTED + content[middle:])
        for peer in peers:
            if isinstance(peer, Dataver):
                new_bytes = max(new_bytes, peer.commit_document()["new_bytes"])
            else:
                peer.commit_changed()
            growth[peer.name] = max(growth[peer.name], peer.stored_bytes() - before[peer.name])
        shutil.rmtree(folder)
    for name, size in growth.items():
        of_which = f", {new_bytes / 2**10:,.0f} KiB of new chunks" if name == "dataver" else ""
        print(f"{name:8} {size / 2**10:10,.0f} KiB{of_which}")


if __name__ == "__main__":
    main()
