"""What the environment says: folders, the author, the repository, how many jobs.

Nothing here reads a repository. Every function looks at the environment when it is called and
keeps nothing, so that a long-lived process sees changes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dataver.errors import BadInputError, EnvironmentFaultError, RepositoryNotFoundError

TYPE_CHECKING = False  # Not `typing`'s: most of this is imported before all else.
if TYPE_CHECKING:
    from subprocess import Popen

__all__ = [
    "author",
    "author_asked",
    "cache_bytes_max",
    "cache_folder",
    "copies_bytes_max",
    "default_jobs",
    "find_repository",
    "machine_id",
    "no_repository",
    "offline",
    "signatures_required",
    "spool_folder",
]

JOBS_MAX = 16
GIT_TIMEOUT_S = 2.0
AUTHOR_CHARACTERS_MAX = 1_000
CACHE_BYTES_MAX = 10 << 30
"""What the cache of remote repositories may hold where `DATAVER_CACHE_MAX` says nothing."""
COPIES_BYTES_MAX = 50 << 30
"""What local copies may take where `DATAVER_COPIES_MAX` says nothing."""
_UNITS = {unit: 1 << 10 * power for power, unit in enumerate("KMGT", 1)}


def cache_folder() -> Path:
    """Where this user's private caches live. Absolute; it need not exist yet.

    `DATAVER_CACHE_DIR`, else `dataver` in `XDG_CACHE_HOME`, else `~/.cache/dataver`. Everything in
    it can be deleted at the price of work done again, save what was checked out where.
    """
    own = os.environ.get("DATAVER_CACHE_DIR")
    if own:
        return Path(os.path.abspath(os.path.expanduser(own)))
    shared = os.environ.get("XDG_CACHE_HOME")
    if shared and os.path.isabs(shared):  # the XDG specification says to ignore a relative one
        return Path(shared, "dataver")
    try:
        return Path.home() / ".cache" / "dataver"
    except RuntimeError as error:
        raise EnvironmentFaultError(
            "this user has no home folder for the cache; set DATAVER_CACHE_DIR to a folder"
        ) from error


def spool_folder() -> Path:
    """Where runs wait that could not be recorded in their repository. Absolute; it need not exist yet.

    `DATAVER_SPOOL_DIR`, else `dataver/runs` in `XDG_STATE_HOME`, else in `~/.local/state`.
    """
    return _state_folder("DATAVER_SPOOL_DIR", "runs")


def served_folder() -> Path:
    """Where served rows wait to be committed. Absolute; it need not exist yet.

    `DATAVER_SERVED_DIR`, else `dataver/served` in `XDG_STATE_HOME`, else in `~/.local/state`.
    """
    return _state_folder("DATAVER_SERVED_DIR", "served")


def _state_folder(variable: str, name: str) -> Path:
    own = os.environ.get(variable)
    if own:
        return Path(os.path.abspath(os.path.expanduser(own)))
    shared = os.environ.get("XDG_STATE_HOME")
    if shared and os.path.isabs(shared):
        return Path(shared, "dataver", name)
    try:
        return Path.home() / ".local" / "state" / "dataver" / name
    except RuntimeError as error:
        raise EnvironmentFaultError(
            f"this user has no home folder where {name} could wait; set {variable} to a folder"
        ) from error


def cache_bytes_max() -> int:
    """How many bytes of remote repositories are kept on this machine; 0: none.

    `DATAVER_CACHE_MAX`: bytes, or a number with a unit of 1024 as `500M`, `20G` or `1.5TiB`.
    """
    return _size("DATAVER_CACHE_MAX", CACHE_BYTES_MAX, "0 for no cache")


def copies_bytes_max() -> int:
    """How many bytes of local copies are kept on this machine; 0: those that are in use.

    `DATAVER_COPIES_MAX`, spelled as `DATAVER_CACHE_MAX` is.
    """
    return _size("DATAVER_COPIES_MAX", COPIES_BYTES_MAX, "0 to keep those alone that are in use")


def _size(variable: str, default: int, nothing: str) -> int:
    given = os.environ.get(variable, "").strip()
    if not given:
        return default
    found = re.fullmatch(
        r"(\d{1,15}(?:\.\d{1,6})?)\s*(?:([KMGT])(?:iB|B)?|B)?", given, re.ASCII | re.IGNORECASE
    )
    if found is None:
        raise BadInputError(
            f"{variable} {given[:40]!r} is not a size: bytes, or as 500M, 20G or 1T, or {nothing}"
        )
    return int(float(found[1]) * (_UNITS[found[2].upper()] if found[2] else 1))


def offline() -> bool:
    """Whether `DATAVER_OFFLINE` says that remote stores may not be asked."""
    return os.environ.get("DATAVER_OFFLINE", "").strip().lower() not in ("", "0", "false", "no", "off")


def signatures_required() -> bool:
    """Whether `DATAVER_REQUIRE_SIGNED` forbids to read what no trusted key signed."""
    return os.environ.get("DATAVER_REQUIRE_SIGNED", "").strip().lower() not in ("", "0", "false", "no", "off")


def author(explicit: str | None = None, asked: Popen[bytes] | None = None) -> str:
    """Who makes a version: `explicit`, else `DATAVER_AUTHOR`, else git's, else `user@host`.

    `asked` is a git that looks for it already.

    One line, without control characters; anything else that the user gave is a `BadInputError`.
    """
    for given, origin in ((explicit, "the author"), (os.environ.get("DATAVER_AUTHOR"), "DATAVER_AUTHOR")):
        if given is None:
            continue
        name = given.strip()
        if name:
            if not name.isprintable() or len(name) > AUTHOR_CHARACTERS_MAX:
                raise BadInputError(
                    f"{origin} {given[:100]!r} is not one line of text: write 'Name <name@host>'"
                )
            return name
        if origin == "the author":
            raise BadInputError("the author is empty: write 'Name <name@host>'")
    name, email = _git_user(asked)
    if name and email:
        return f"{name} <{email}>"
    account = f"{_user()}@{_host()}"
    return f"{name} <{account}>" if name else account


@contextmanager
def author_asked(explicit: str | None = None) -> Iterator[Callable[[], str]]:
    """What `author` says; git, which takes some ms, looks for it while the body does something else."""
    is_needed = explicit is None and not os.environ.get("DATAVER_AUTHOR", "").strip()
    asked = _ask_git() if is_needed else None
    try:
        yield lambda: author(explicit, asked)
    finally:
        if asked is not None and asked.returncode is None:
            asked.kill()
            _answer_of(asked)


def _ask_git() -> Popen[bytes] | None:
    import subprocess

    command = ["git", "config", "-z", "--get-regexp", r"^user\.(name|email)$"]
    with suppress(OSError):
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    return None


def _answer_of(asked: Popen[bytes]) -> bytes:
    """What git says; nothing if it is broken or slow."""
    import subprocess

    with asked:
        try:
            return asked.communicate(timeout=GIT_TIMEOUT_S)[0]
        except (OSError, subprocess.SubprocessError):
            asked.kill()
            return b""


def _git_user(asked: Popen[bytes] | None) -> tuple[str, str]:
    """git's user.name and user.email, each empty where git has none, or is absent, broken or slow."""
    asked = asked or _ask_git()
    answer = b"" if asked is None else _answer_of(asked)
    found = {"user.name": "", "user.email": ""}
    for item in answer.decode("utf-8", "replace").split("\0"):
        key, _, value = item.partition("\n")  # the last one counts, as for git itself
        found[key] = "".join(filter(str.isprintable, value)).strip()[: AUTHOR_CHARACTERS_MAX // 2]
    return found["user.name"], found["user.email"]


def _user() -> str:
    import getpass

    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # an account without an entry, as containers have them
        name = f"uid{os.getuid()}" if hasattr(os, "getuid") else "unknown"
    return "".join(filter(str.isprintable, name)) or "unknown"


def _host() -> str:
    import socket

    return "".join(filter(str.isprintable, socket.gethostname())) or "localhost"


def find_repository(start: str | os.PathLike[str] | None = None) -> str | None:
    """The URL of the repository to use where none was named.

    `DATAVER_REPO`, else the nearest `.dataver` folder in `start` (default: the current folder) or
    above it, as an absolute path. `None` where there is neither. Nothing is opened.
    """
    named = os.environ.get("DATAVER_REPO")
    if named:
        return named
    folder = os.path.abspath(os.getcwd() if start is None else start)
    while True:
        candidate = os.path.join(folder, ".dataver")
        if os.path.isdir(candidate):
            return candidate
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above


def repository_inside(place: str) -> str | None:
    """The `.dataver` folder in a folder, which people name where they mean what is in it; None for a URL."""
    inside = os.path.join(place, ".dataver")
    return inside if "://" not in place and os.path.isdir(inside) else None


def absence(place: str) -> tuple[str, str]:
    """What to say of a place that is no repository, and what to do. `place` is a store's URL or a path."""
    inside = repository_inside(place)
    if inside is not None:
        # As it can be typed here: a store's URL is absolute, however it was named.
        with suppress(FileNotFoundError):  # the current folder may be gone
            inside = inside.removeprefix(os.path.join(os.getcwd(), ""))
        return f"{place} is no repository, but holds one", f"name {inside}"
    import shlex

    made = f"make one with `dataver init {shlex.quote(place)}`"
    return f"there is no repository at {place}", f"{made}, or name another place"


def no_repository(place: str) -> RepositoryNotFoundError:
    """The error for a place that is no repository."""
    return RepositoryNotFoundError("; ".join(absence(place)))


def new_place(url: str | os.PathLike[str] | None) -> str:
    """Where a new repository is made: at `url`, else in `.dataver` here. `BadInputError` for a file."""
    place = os.path.abspath(".dataver") if url is None else os.fspath(url)
    if os.path.lexists(place) and not os.path.isdir(place):
        raise BadInputError(
            f"{place} is a file, not a folder; name a folder, or a place where nothing is yet"
        )
    return place


def require_place(place: str | os.PathLike[str], name: str) -> None:
    """`BadInputError` for an empty text, which no place has."""
    if not os.fspath(place):
        raise BadInputError(f"the {name} is empty; '.' is the current folder")


def default_jobs() -> int:
    """How many threads work where nobody said how many: one for each usable core, `JOBS_MAX` at most."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return min(cores, JOBS_MAX)


def machine_id() -> str:
    """A text that tells this machine from others that share its home folder; empty where none is known."""
    for place in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            with open(place, encoding="ascii") as file:
                text = file.read(64).strip()
        except (OSError, UnicodeDecodeError):
            continue
        if text:
            return text
    return ""
