"""The history of a git repository as it is imported: the line of `main`, and the branches beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field

from dataver.errors import BadInputError
from dataver.integrations.importing.git import Git
from dataver.integrations.importing.names import ref_names
from dataver.refs import MAIN, check_ref_name
from dataver.values import dataclass

__all__ = ["Track", "nearest", "tags_on", "tracks"]


@dataclass(frozen=True, slots=True)
class Track:
    """Commits by first parents, oldest first, each with its first parent, that go to one branch.

    `before` is the commit whose state the first one changes, empty where that begins the history; `shared`
    are those commits up to `before` that `main` has too, oldest first.
    """

    branch: str
    commits: Sequence[tuple[str, str]]
    before: str = ""
    shared: Sequence[tuple[str, str]] = field(default_factory=tuple)


def tracks(git: Git, revision: str | None, every: bool, branch: str) -> list[Track]:
    """What is to be imported: the revision or range, else HEAD, on `branch`; with `every`, all branches.

    `BadInputError` where there is no commit.
    """
    if branch != MAIN:
        check_ref_name(branch)
    commits = git.line(revision or "HEAD")
    if not commits:
        raise BadInputError(f"no commit is in {(revision or 'HEAD')[:100]!a}")
    first_parent = commits[0][1]
    found = [Track(branch, commits, first_parent)]
    if not every:
        return found
    heads = git.refs("heads")
    head = git.head()
    others = {name: commit for name, commit in heads.items() if name != head}
    names = ref_names(others, (branch,))
    places = {commit: at for at, (commit, _) in enumerate(commits)}
    for name in sorted(others):
        line = git.line(others[name])
        own = [pair for pair in line if pair[0] not in places]
        shared = commits[: places[own[0][1]] + 1] if own and own[0][1] in places else []
        if own:
            found.append(Track(names[name], own, own[0][1], shared))
    return found


def tags_on(git: Git, track: Track) -> Mapping[str, str]:
    """The tags of git at commits of a track: the commit by the name."""
    own = {commit for commit, _ in track.commits}
    return {name: commit for name, commit in git.refs("tags").items() if commit in own}


def nearest(track: Track, states: Sequence[tuple[str, str]], tags: Mapping[str, str]) -> Mapping[str, str]:
    """For each tag on a track, the commit whose version is what the tag's commit has.

    `states`, oldest first, are commits from which on that of the second commit is there, or, where it is
    empty, none. A tag of a commit that has none is left out.
    """
    places = {commit: at for at, (commit, _) in enumerate(track.commits)}
    found = {}
    for name, commit in tags.items():
        before = [made for since, made in states if places[since] <= places[commit]]
        if before and before[-1]:
            found[name] = before[-1]
    return found
