"""The code of a run, as git knows it."""

from __future__ import annotations

import os
import subprocess

from dataver.format.run_record import Code, part_digest
from dataver.lineage.masking import mask_source, mask_text

__all__ = ["PATCH_BYTES_MAX", "capture_code"]

PATCH_BYTES_MAX = 4 << 20
UNTRACKED_MAX = 200
GIT_TIMEOUT_S = 20.0


class _GitError(Exception):
    """git did not answer; the message says why."""


def capture_code(folder: str) -> tuple[Code, list[bytes]]:
    """What git says of a folder, and the parts that the answer names: the patch, where there is one."""
    try:
        return _capture(folder)
    except _GitError as error:
        return Code(reason=mask_text(str(error))), []


def _capture(folder: str) -> tuple[Code, list[bytes]]:
    top = _git(folder, "rev-parse", "--show-toplevel").decode("utf-8", "replace").rstrip("\n")
    inner = _git(folder, "rev-parse", "--show-prefix").decode("utf-8", "replace").strip().rstrip("/")
    try:
        commit = _git(folder, "rev-parse", "--verify", "HEAD").decode().strip()
    except _GitError:
        return Code(folder=inner, url=_url(folder), reason="the git repository has no commit yet"), []
    branch = _git(folder, "rev-parse", "--abbrev-ref", "HEAD").decode("utf-8", "replace").strip()
    changed, untracked = _status(top)
    parts: list[bytes] = []
    reason, masked = "", False
    if changed:
        # Whatever the user set for `git diff`, the patch is one that `git apply` takes.
        raw = _git(
            top, "diff", "HEAD", "--binary", "--full-index", "--no-color", "--no-ext-diff", "--no-textconv",
            "--no-relative", "--src-prefix=a/", "--dst-prefix=b/",
        )  # fmt: skip
        text = raw.decode("utf-8", "surrogateescape")
        if len(raw) > PATCH_BYTES_MAX:
            reason = f"the changes have {len(raw)} bytes, more than the {PATCH_BYTES_MAX} that are recorded"
        elif raw:
            shown = mask_source(text)
            masked = shown != text
            parts.append(shown.encode("utf-8", "surrogateescape"))
    return (
        Code(
            url=_url(folder),
            commit=commit,
            branch="" if branch == "HEAD" else branch,
            dirty=changed,
            patch=str(part_digest(parts[0])) if parts else None,
            masked=masked,
            folder=inner,
            untracked=tuple(untracked),
            reason=reason,
        ),
        parts,
    )


def _status(folder: str) -> tuple[bool, list[str]]:
    """Whether tracked files differ from the commit, and the first untracked names."""
    answer = _git(folder, "status", "--porcelain=v1", "-z", "--untracked-files=normal")
    changed = False
    untracked: list[str] = []
    skip = False
    for item in answer.decode("utf-8", "replace").split("\0"):
        if skip or not item:
            skip = False  # The old name of what was renamed, which has no letters before it.
            continue
        letters, name = item[:2], item[3:]
        if letters == "??":
            untracked.append(name)
        else:
            changed = True
            skip = letters[0] in "RC"
    more = len(untracked) - UNTRACKED_MAX
    return changed, [*untracked[:UNTRACKED_MAX], *([f"… and {more} more"] if more > 0 else [])]


def _url(folder: str) -> str:
    """Where the repository came from, without credentials; empty where it has no remote."""
    try:
        url = _git(folder, "remote", "get-url", "origin").decode("utf-8", "replace").strip()
    except _GitError:
        return ""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return mask_text(url)
    place, slash, path = rest.partition("/")
    user, at, host = place.rpartition("@")
    kept = "git@" if at and user == "git" else ""
    return mask_text(f"{scheme}://{kept}{host if at else place}{slash}{path}")


def _git(folder: str, *arguments: str) -> bytes:
    variables = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            ["git", "-C", folder, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_TIMEOUT_S,
            check=False,
            env=variables,
        )
    except FileNotFoundError:
        raise _GitError("git is not installed") from None
    except (OSError, subprocess.SubprocessError) as error:
        raise _GitError(f"git did not answer: {type(error).__name__}") from error
    if done.returncode:
        told = done.stderr.decode("utf-8", "replace").strip().splitlines()
        first = told[0].removeprefix("fatal: ") if told else f"git ended with {done.returncode}"
        raise _GitError("the folder is in no git repository" if "not a git repository" in first else first)
    return done.stdout
