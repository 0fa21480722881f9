"""The code of a run as it was, in a folder of its own. No working tree of the user's is touched."""

from __future__ import annotations

import os
import re
import subprocess

from dataver.errors import NotFoundError, RefNotFoundError
from dataver.format.run_record import Code
from dataver.lineage.masking import MASK
from dataver.paths import safe_spelling

__all__ = ["OF_ANOTHER", "copy_code", "top_of"]

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
OF_ANOTHER = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_DIR", "GIT_INDEX_FILE", "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY", "GIT_PREFIX", "GIT_WORK_TREE",
)  # fmt: skip
"""Set where git itself calls a program, as a hook; they mean that repository, and none here."""
PROTOCOLS = "file:git:http:https:ssh"


class _GitError(Exception):
    """git failed; the message says why."""


def top_of(folder: str) -> str | None:
    """The top of the git repository that a folder is in, None where it is in none."""
    try:
        return os.fsdecode(_git(folder, "rev-parse", "--show-toplevel")).rstrip("\n")
    except _GitError:
        return None


def copy_code(code: Code, patch: bytes | None, place: str | None, target: str) -> str:
    """Put the commit, with the patch, into the new folder `target`; gives where the commit came from.

    It is taken from the git repository at `place`, else from the one that the current folder is in, else
    from the recorded URL. `RefNotFoundError` where none has it, or the patch does not apply.
    """
    if not _COMMIT.fullmatch(code.commit):
        raise RefNotFoundError(
            f"the code of the run is not known: {code.reason or 'no commit is recorded'}; record a run of "
            "code that git has, then it can be repeated"
        )
    os.makedirs(target)
    try:
        origin = _fetch(code, place, target)
        if code.url:
            _git(target, "config", "remote.origin.url", code.url)
        _git(target, "checkout", "--quiet", "--detach", code.commit)
    except _GitError as error:
        raise RefNotFoundError(f"commit {code.commit} cannot be checked out: {error}") from error
    if patch is not None:
        try:
            _git(target, "apply", "--index", "--whitespace=nowarn", "-", data=patch)
        except _GitError as error:
            raise RefNotFoundError(
                f"the changes that were not committed cannot be applied to {code.commit}: {error}; "
                "--without-patch leaves them out"
            ) from error
    return origin


def _fetch(code: Code, place: str | None, target: str) -> str:
    """Make `target` a git repository that has the commit."""
    here = os.getcwd() if place is None else place
    if os.path.isdir(here):
        objects = _objects(here, code.commit)
        if objects is not None:
            _git(target, "init", "--quiet")
            with open(os.path.join(target, ".git", "objects", "info", "alternates"), "wb") as file:
                file.write(os.fsencode(objects) + b"\n")
            return os.path.abspath(here)
        if place is not None:
            raise RefNotFoundError(f"the git repository {safe_spelling(place)} has no commit {code.commit}")
    url = code.url if place is None else place
    if not url or MASK in url:
        raise RefNotFoundError(
            f"commit {code.commit} is in no git repository that is known here; call this in a clone that has "
            "it, or name one with --code"
        )
    _git(target, "clone", "--quiet", "--no-checkout", "--", url, ".")
    if not _has(target, code.commit):
        try:
            # No branch has it, as after a rebase; servers may still give it out by its id.
            _git(target, "fetch", "--quiet", "origin", code.commit)
        except _GitError as error:
            raise RefNotFoundError(f"{safe_spelling(url)} has no commit {code.commit}: {error}") from error
    return url


def _objects(folder: str, commit: str) -> str | None:
    """The folder of objects of the git repository that `folder` is in, if it has the commit."""
    try:
        found = os.fsdecode(_git(folder, "rev-parse", "--git-path", "objects")).rstrip("\n")
    except _GitError:
        return None
    return os.path.realpath(os.path.join(folder, found)) if _has(folder, commit) else None


def _has(folder: str, commit: str) -> bool:
    try:
        _git(folder, "cat-file", "-e", f"{commit}^{{commit}}")
    except _GitError:
        return False
    return True


def _git(folder: str, *arguments: str, data: bytes | None = None) -> bytes:
    variables = {name: value for name, value in os.environ.items() if name not in OF_ANOTHER}
    variables |= {"GIT_ALLOW_PROTOCOL": PROTOCOLS, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    command = ["git", "-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false", "-C", folder]
    try:
        done = subprocess.run(
            [*command, *arguments],
            input=b"" if data is None else data,
            capture_output=True,
            check=False,
            env=variables,
        )
    except OSError as error:
        raise NotFoundError(f"git is needed, and cannot be run: {error.strerror}") from error
    if done.returncode:
        told = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise _GitError(told[-1].removeprefix("fatal: ") if told else f"git ended with {done.returncode}")
    return done.stdout
