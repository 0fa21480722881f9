"""An index of 50 million chunks: how long it takes to open, to look up in, and what memory it holds.

    python -m benchmarks.bench_index [--keys 5000000] [--rounds 5]

One segment as a repository has it, over made-up digests; opened as a local repository opens it, over a
memory map. 100,000 digests, half of which are there, are looked up in one call, the page cache being warm.
Each measurement is a process of its own. Making the segment takes a minute and 2.7 GB of disk; it stays for
the next run. Pages of the file are the page cache's: the kernel maps those around a page that is touched
with it.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import resource
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.run import FOLDER
from benchmarks.workloads import SEED
from dataver.digest import DIGEST_BYTES
from dataver.format import segment as segment_format
from dataver.format.segment import Segment, fanout_bits
from dataver.hashing import FileHasher

KEYS_PER_FRAME = 2
FRAMES_PER_PACK = 500
FRAME_RAW_BYTES = 128 << 10
LOOKUPS = 100_000
BLOCK_KEYS = 1 << 20


def make(path: Path, count: int) -> None:
    """Writes a segment, part by part: more than fits into memory several times over."""
    dice = np.random.Generator(np.random.SFC64(SEED))
    # Sorted by what the first 8 bytes say, which random digests do not share.
    heads = np.sort(dice.integers(0, 1 << 63, count, dtype=np.uint64) << np.uint64(1))
    frames, bits = -(-count // KEYS_PER_FRAME), fanout_bits(count)
    packs = -(-frames // FRAMES_PER_PACK)
    bounds = np.arange((1 << bits) + 1, dtype=np.uint64) << np.uint64(64 - bits)
    bounds[-1] = np.uint64(2**64 - 1)
    fanout = np.searchsorted(heads, bounds).astype("<u4")
    fanout[-1] = count
    hasher = FileHasher()
    partial = path.with_suffix(".partial")
    with open(partial, "wb") as file:
        head = struct.Struct("<8sHHIII16s32s")
        file.write(bytes(head.size))

        def put(data: bytes) -> None:
            hasher.update(data)
            file.write(data)

        put(dice.bytes(DIGEST_BYTES * packs))
        for start in range(0, frames, BLOCK_KEYS):
            numbers = np.arange(start, min(frames, start + BLOCK_KEYS), dtype="<u4")
            inside = numbers % FRAMES_PER_PACK
            raw = np.full_like(numbers, FRAME_RAW_BYTES)
            columns = [numbers // FRAMES_PER_PACK, inside * FRAME_RAW_BYTES, raw, raw, np.zeros_like(raw)]
            put(np.stack(columns, axis=1).tobytes())
        put(fanout.tobytes())
        for start in range(0, count, BLOCK_KEYS):
            block = heads[start : start + BLOCK_KEYS]
            keys = np.empty((len(block), 4), dtype=">u8")
            keys[:, 0] = block
            keys[:, 1:] = dice.integers(0, 1 << 63, (len(block), 3), dtype=np.uint64)
            put(keys.tobytes())
        for start in range(0, count, BLOCK_KEYS):
            numbers = np.arange(start, min(count, start + BLOCK_KEYS), dtype="<u4")
            length = FRAME_RAW_BYTES // KEYS_PER_FRAME
            columns = [
                numbers // KEYS_PER_FRAME,
                numbers % KEYS_PER_FRAME * length,
                np.full_like(numbers, length),
            ]
            put(np.stack(columns, axis=1).tobytes())
        file.seek(0)
        magic, version = segment_format.SEGMENT_MAGIC, segment_format.SEGMENT_VERSION
        file.write(head.pack(magic, version, bits, packs, frames, count, bytes(16), hasher.digest()))
    os.replace(partial, path)


def look(path: Path) -> dict[str, float]:
    """In a process of its own: seconds, and the memory that was added, page by page of the file and else."""
    dice = np.random.Generator(np.random.SFC64(SEED + 1))
    sought = pick(path, dice)
    before = status()
    start = time.perf_counter()
    file = os.open(path, os.O_RDONLY)
    view = memoryview(mmap.mmap(file, 0, access=mmap.ACCESS_READ))
    os.close(file)
    segment = Segment(view, "segment")
    opened = time.perf_counter()
    positions = segment.find_many(sought)
    done = time.perf_counter()
    again = segment.find_many(sought)
    repeated = time.perf_counter()
    if int((positions >= 0).sum()) != LOOKUPS // 2 or (positions != again).any():
        raise RuntimeError("the index found what it does not have, or not what it has")
    hits = positions[positions >= 0]
    placing = time.perf_counter()
    places = segment.places(hits)
    places_s = time.perf_counter() - placing
    after = status()
    if places[7] != segment.place(int(hits[7])):
        raise RuntimeError("a place is another one when it is read with others")
    for at in np.flatnonzero(positions >= 0)[:1_000]:
        position = int(positions[at])
        assert segment.keys()[32 * position : 32 * position + 32] == sought[32 * at : 32 * at + 32]
    return {
        "open_s": opened - start,
        "lookup_s": done - opened,
        "again_s": repeated - done,
        "places_s": places_s,
        "file_mib": (after["RssFile"] - before["RssFile"]) / 1024,
        "own_mib": (after["RssAnon"] - before["RssAnon"]) / 1024,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def pick(path: Path, dice: np.random.Generator) -> bytes:
    """Digests to look up, mixed: every second one is in the segment."""
    with open(path, "rb") as file:
        data = file.read(segment_format.HEADER_BYTES)
    head = segment_format.parse_head(data, path.stat().st_size, "segment")
    shape = head.keys, DIGEST_BYTES
    keys = np.memmap(path, dtype=np.uint8, mode="r", offset=head.keys_at, shape=shape)
    sought = np.frombuffer(bytearray(dice.bytes(DIGEST_BYTES * LOOKUPS)), np.uint8).reshape(-1, DIGEST_BYTES)
    sought[::2] = keys[dice.integers(0, head.keys, LOOKUPS // 2)]
    return sought.tobytes()


def status() -> dict[str, int]:
    """The resident memory of this process by kind, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return {
        name: int(value.split()[0])
        for name, _, value in (line.partition(":") for line in lines)
        if "Rss" in name
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Look-ups in a large index.")
    parser.add_argument("--keys", type=int, default=50_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--look", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.look:
        print(json.dumps(look(options.look)))
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    path = options.folder / f"segment-{options.keys}"
    if not path.exists():
        make(path, options.keys)
    with open(path, "rb") as file:
        while file.read(16 << 20):
            pass
    command = [sys.executable, "-m", "benchmarks.bench_index", "--look", str(path)]
    found = [
        json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        for _ in range(options.rounds)
    ]
    least = {name: min(one[name] for one in found) for name in found[0]}
    print(f"{options.keys:,} keys, {path.stat().st_size / 2**20:,.0f} MiB")
    print(f"opened in {least['open_s'] * 1e3:.2f} ms")
    print(f"{LOOKUPS:,} look-ups in {least['lookup_s']:.3f} s, again in {least['again_s']:.3f} s")
    print(f"the places of the {LOOKUPS // 2:,} that are there in {least['places_s']:.3f} s")
    print(f"pages of the file {least['file_mib']:.0f} MiB, own memory {least['own_mib']:.0f} MiB")


if __name__ == "__main__":
    main()
