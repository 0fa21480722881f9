"""What tests of local copies have in common: a world, and the folder as it is on disk."""

from __future__ import annotations

import os
from pathlib import Path

from dataver.config import cache_folder
from dataver.readers import shelf as shelves
from dataver.repository import Repository
from dataver.version import Version
from tests.worlds import EMPTY, FILE, LINK, Thing, World, noise, text, write

BIG = noise("big", 1_500_000)
WORLD: World = {
    b"big.bin": Thing(FILE, BIG),
    b"rows.csv": Thing(FILE, text("rows", 300_000)),
    b"run.sh": Thing(FILE, b"#!/bin/sh\n", executable=True),
    b"not-run.sh": Thing(FILE, b"#!/bin/sh\n"),
    b"empty.txt": Thing(FILE),
    b"empty-too.txt": Thing(FILE),
    b"nothing/here": EMPTY,
    b"train/part-0.csv": Thing(FILE, text("part", 9_000)),
    b"train/again.csv": Thing(FILE, text("part", 9_000)),
    b"train/deep/er/file": Thing(FILE, b"deep"),
    b"train/latest": Thing(LINK, b"part-0.csv"),
    b"train/deep/up": Thing(LINK, b"../part-0.csv"),
    b"train/deep/folder": Thing(LINK, b"er"),
    b"train/nowhere": Thing(LINK, b"missing"),
    b"odd/new\nline": Thing(FILE, b"1"),
    "odd/ü@#?.csv".encode(): Thing(FILE, b"2"),
    b"odd/[1]*.csv": Thing(FILE, b"3"),
    b"odd/back\\slash": Thing(FILE, b"4"),
    b"odd/-": Thing(FILE, b"5"),
    b"odd/.hidden": Thing(FILE, b"6"),
}


def commit(repository: Repository, folder: Path, world: World, name: str = "vision/things") -> Version:
    write(folder, world)
    repository.commit(name, folder)
    return repository.version(name)


def below(prefix: bytes) -> World:
    return {path[len(prefix) :]: thing for path, thing in WORLD.items() if path.startswith(prefix)}


def places() -> Path:
    return cache_folder() / "copies"


def begin_again() -> None:
    """Forget that this process uses any copy, as one that begins does."""
    for shelf in shelves._shelves.values():
        if shelf._lease >= 0:
            os.close(shelf._lease)
    shelves._shelves.clear()
