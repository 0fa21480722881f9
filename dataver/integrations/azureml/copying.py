"""The bytes of a version at a place that is named by its digest: put once, and complete or not there.

The list of the files is put last. Where it is, all of them were put; where it is not, an export was cut
short, and the next one goes on with it.
"""

from __future__ import annotations

from concurrent.futures import CancelledError, ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING

from dataver.config import default_jobs
from dataver.errors import BadInputError, DamagedError, DataverError, PathNotFoundError
from dataver.paths import safe_spelling
from dataver.progress import Progress, Silent
from dataver.tree.manifest import FOLDER, SYMLINK, Entry
from dataver.values import dataclass
from dataver.verify.listed import LIST_FILE, read_list
from dataver.verify.mltable import MLTABLE_FILE
from dataver.verify.workers import in_order

if TYPE_CHECKING:
    from dataver.integrations.azureml.places import Place
    from dataver.version import Version

FILES_IN_FLIGHT = 64
REST = "move it away, and export again; `dataver verify --at` tells of a copy what differs"


@dataclass(frozen=True, slots=True)
class Copied:
    """How much an export wrote; nothing where all was there."""

    files: int
    bytes: int


def copy_version(
    version: Version,
    place: Place,
    table: bytes | None = None,
    *,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Copied:
    """Put the version's files to `place`, `table` as the file `MLTable` beside them, and the list last.

    What is there and right stays. `BadInputError` for what a place of plain files cannot hold,
    `DamagedError` where a complete export was changed since.
    """
    version = version.asked_as(unnoted=True)
    wanted = files_of(version)
    there = place.sizes()
    listed = LIST_FILE in there and _is_whole(version, place, wanted, there)
    written = Copied(0, 0) if listed else _copy(version, place, wanted, there, jobs, progress or Silent())
    if table is not None and MLTABLE_FILE in there and place.read(MLTABLE_FILE) != table:
        raise DamagedError(f"{MLTABLE_FILE} in {place.url} was changed: {REST}")
    if table is not None and MLTABLE_FILE not in there:
        place.put_bytes(MLTABLE_FILE, table)
        written = Copied(written.files + 1, written.bytes + len(table))
    if not listed:
        place.put_bytes(LIST_FILE, version.list_file())
    return written


def files_of(version: Version) -> list[tuple[str, Entry]]:
    """The files of a version by their paths; a symlink is the file that it leads to."""
    files, found = version.tree_of_files(), []
    for entry in files.scan():
        path = entry.path.decode()
        if path == LIST_FILE:
            raise BadInputError(
                f"{version.name} has a file {LIST_FILE} itself, as is called the list that an export adds"
            )
        if entry.kind == SYMLINK:
            entry = _led_to(version, path)
        if entry.kind != FOLDER:
            found.append((path, entry))
    return found


def _led_to(version: Version, path: str) -> Entry:
    try:
        return version.entry(path)
    except (BadInputError, PathNotFoundError):
        raise BadInputError(
            f"{safe_spelling(path)!r} of {version.name} is a symlink that leads to no file of the version, "
            "which blobs cannot be; commit files in its place"
        ) from None


def _is_whole(version: Version, place: Place, wanted: list[tuple[str, Entry]], there: dict[str, int]) -> bool:
    """See that a complete export still has the files it had, by their names and sizes."""
    try:
        listed = read_list(place.read(LIST_FILE), f"{LIST_FILE} in {place.url}")
    except DataverError as error:
        raise DamagedError(f"the export in {place.url} was changed: {error}; {REST}") from None
    if listed.id != version.id:
        raise DamagedError(f"the export in {place.url} is one of {listed.name} {listed.id}: {REST}")
    sizes = {path: entry.size for path, entry in wanted}
    wrong = [path for path, size in sizes.items() if there.get(path) != size]
    more = there.keys() - sizes.keys() - {LIST_FILE, MLTABLE_FILE}
    if wrong or more:
        first = safe_spelling(min([*wrong, *more]))
        raise DamagedError(
            f"the export in {place.url} was changed: {len(wrong):,} of its files are missing or of another "
            f"size, and {len(more):,} are too many, such as {first!r}; {REST}"
        )
    return True


def _copy(
    version: Version,
    place: Place,
    wanted: list[tuple[str, Entry]],
    there: dict[str, int],
    jobs: int | None,
    progress: Progress,
) -> Copied:
    over = Event()

    def go_on(_: int) -> None:
        if over.is_set():
            raise CancelledError

    def put(item: tuple[str, Entry]) -> tuple[int, int, int]:
        name, entry = item
        if there.get(name) == entry.size and place.digest(name) == entry.digest:
            return 0, 0, entry.size
        place.put(name, version, entry.size, go_on)
        return 1, entry.size, entry.size

    more = there.keys() - {path for path, _ in wanted} - {MLTABLE_FILE}
    if more:
        raise DamagedError(
            f"{place.url} has {len(more):,} files that are none of {version.name}, such as "
            f"{safe_spelling(min(more))!r}: {REST}"
        )
    files = size_bytes = 0
    progress.begin("exporting", len(wanted), sum(entry.size for _, entry in wanted))
    try:
        with ThreadPoolExecutor(jobs or default_jobs()) as pool:
            try:
                for new, new_bytes, done in in_order(pool, put, wanted, FILES_IN_FLIGHT):
                    files, size_bytes = files + new, size_bytes + new_bytes
                    progress.advance(1, done)
            finally:
                over.set()  # Where it ends early, nobody waits for the large files that are being copied.
    finally:
        progress.end()
    return Copied(files, size_bytes)
