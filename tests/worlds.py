"""Folders as dictionaries: a world maps paths to what is there, is written to disk and read back."""

from __future__ import annotations

import os
import shutil
import stat
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3

FILE, LINK, FOLDER = "file", "symlink", "folder"


class Thing(NamedTuple):
    """What stands at a path: a file's bytes, a symlink's target, or an empty folder."""

    kind: str
    data: bytes = b""
    executable: bool = False


World = dict[bytes, Thing]
EMPTY = Thing(FOLDER)


def noise(seed: object, length: int) -> bytes:
    """Bytes that do not compress, the same for the same seed."""
    return blake3(repr(seed).encode()).digest(length=length) if length else b""


def text(seed: object, length: int) -> bytes:
    """Bytes that compress well and do not repeat as a whole."""
    lines = b"".join(b"%d,%r,value\n" % (n, seed) for n in range(length // 8 + 1))
    return lines[:length]


def write(root: Path, world: Mapping[bytes, Thing]) -> None:
    """Make `root` hold exactly `world`; what is right already is not touched."""
    root.mkdir(parents=True, exist_ok=True)
    there = read(root)
    top = os.fsencode(root)
    for path in there:
        if world.get(path) != there[path]:
            _remove(top, path)
    for folder, _, _ in os.walk(top, topdown=False):
        if folder != top and world.get(folder[len(top) + 1 :]) != EMPTY and not os.listdir(folder):
            os.rmdir(folder)
    for path, thing in world.items():
        if there.get(path) == thing:
            continue
        full = top + b"/" + path
        os.makedirs(full if thing.kind == FOLDER else os.path.dirname(full), exist_ok=True)
        if thing.kind == LINK:
            os.symlink(thing.data, full)
        elif thing.kind == FILE:
            with open(full, "xb") as file:
                file.write(thing.data)
                os.fchmod(file.fileno(), 0o755 if thing.executable else 0o644)


def _remove(top: bytes, path: bytes) -> None:
    full = top + b"/" + path
    if os.path.isdir(full) and not os.path.islink(full):
        if not os.listdir(full):
            os.rmdir(full)
    else:
        os.unlink(full)


def read(root: Path) -> World:
    """What `root` holds; folders only where they are empty."""
    top = os.fsencode(root)
    world: World = {}
    for folder, folders, names in os.walk(top):
        relative = folder[len(top) + 1 :]
        if relative and not folders and not names:
            world[relative] = EMPTY
        for name in (*folders, *names):
            full = folder + b"/" + name
            path = full[len(top) + 1 :]
            mode = os.lstat(full).st_mode
            if stat.S_ISLNK(mode):
                world[path] = Thing(LINK, os.readlink(full))
            elif stat.S_ISREG(mode):
                with open(full, "rb") as file:
                    world[path] = Thing(FILE, file.read(), bool(mode & 0o100))
    return world


def replace(root: Path, world: Mapping[bytes, Thing]) -> None:
    """Write `world` into a new `root`, whatever was there."""
    shutil.rmtree(root, ignore_errors=True)
    write(root, world)


def files_and_bytes(world: Mapping[bytes, Thing]) -> tuple[int, int]:
    """How many files and symlinks, and their bytes: what a version counts."""
    kept = [thing for thing in world.values() if thing.kind != FOLDER]
    return len(kept), sum(len(thing.data) for thing in kept)


def differences(
    old: Mapping[bytes, Thing], new: Mapping[bytes, Thing]
) -> tuple[list[str], list[str], list[str], list[tuple[str, str]]]:
    """Added, modified, deleted and renamed paths, by the words of the contract."""
    added = sorted(path for path in new if path not in old)
    deleted = sorted(path for path in old if path not in new)
    modified = sorted(path for path in new if path in old and new[path] != old[path])
    by_thing: dict[Thing, list[bytes]] = defaultdict(list)
    for path in deleted:
        if new_bytes(old[path]):
            by_thing[old[path]].append(path)
    renamed = []
    for path in list(added):
        candidates = by_thing.get(new[path])
        if candidates:
            origin = candidates.pop(0)
            renamed.append((origin.decode(), path.decode()))
            added.remove(path)
            deleted.remove(origin)
    return _texts(added), _texts(modified), _texts(deleted), sorted(renamed)


def new_bytes(thing: Thing) -> int:
    """The bytes that a thing brings."""
    return 0 if thing.kind == FOLDER else len(thing.data)


def _texts(paths: list[bytes]) -> list[str]:
    return [path.decode() for path in paths]


def folders_of(path: bytes) -> Iterator[bytes]:
    """The folders above a path, the outermost first."""
    parts = path.split(b"/")[:-1]
    for count in range(1, len(parts) + 1):
        yield b"/".join(parts[:count])


def put(world: World, path: bytes, thing: Thing) -> None:
    """Place a thing, taking away whatever cannot stand beside it."""
    for folder in folders_of(path):
        world.pop(folder, None)
    for other in [other for other in world if other.startswith(path + b"/")]:
        del world[other]
    world[path] = thing


def take(world: World, path: bytes) -> None:
    """Remove a thing; a folder that is empty then stays as an empty folder, as it does on disk."""
    del world[path]
    for folder in reversed([*folders_of(path)]):
        if any(other.startswith(folder + b"/") for other in world):
            return
        world[folder] = EMPTY
        return
