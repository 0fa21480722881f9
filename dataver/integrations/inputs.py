"""What a model was made from, as other tools are told it: one version, or a part of it, in one role.

Nothing here holds a secret: the URL of a repository is the one without password and query.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dataver.errors import BadInputError, ConflictError, NotFoundError
from dataver.recording import DEFAULT_ROLE
from dataver.values import dataclass

if TYPE_CHECKING:
    from dataver.format.run_record import RunInput
    from dataver.parts import SplitView
    from dataver.repository import Repository
    from dataver.version import Version

__all__ = [
    "DEFINITION_BYTES_MAX",
    "INPUT_TAG",
    "Input",
    "find",
    "open_node",
    "run_input",
    "split_document",
    "tags_of",
]

DEFINITION_BYTES_MAX = 16 << 10
"""A definition of a split that takes more is told by its digest alone."""
INPUT_TAG = "dataver.input."
ROLE_CHARACTERS_MAX = 200
_ID = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Input:
    """A version that was read, as `role`. `number` is None off `main`; `path` is what of it was read.

    Where a part of its rows was, `split` is as in the record of a run: the name of the split, if it has
    one, the part, the definition and its digest; without a definition that takes much room.
    """

    dataset: str
    id: str
    tree: str
    repository: str
    url: str = ""
    number: int | None = None
    role: str = ""
    path: str = ""
    split: Mapping[str, Any] | None = None

    @property
    def part(self) -> str:
        """`PART` or `NAME/PART`, empty where all rows were read."""
        split = self.split or {}
        return "/".join(filter(None, (split.get("name"), split.get("part"))))

    @property
    def version(self) -> str:
        """`iris@v3`, or with the whole id off `main`."""
        return f"{self.dataset}@{f'v{self.number}' if self.number else self.id}"

    @property
    def node(self) -> str:
        """`iris@v3:train`."""
        return f"{self.version}:{self.part}" if self.part else self.version

    @property
    def uri(self) -> str:
        """`dataver://iris@v3/PATH`."""
        return f"dataver://{self.version}/{self.path}".rstrip("/")

    @property
    def name(self) -> str:
        """What tools list it as: the parts of one version have names of their own."""
        return "/".join(filter(None, (self.dataset, self.path.strip("/"), self.part)))

    @property
    def tag(self) -> str:
        """`iris@v3:train#ID`: all that is needed to find the bytes again, for a line of text."""
        return f"{self.node}#{self.id}"

    def as_role(self, role: str) -> Input:
        """The same, read as `role`."""
        return replace(self, role=role)

    def document(self) -> dict[str, Any]:
        """The same for each run that read the same: no role, no times."""
        found: dict[str, Any] = {
            "uri": self.uri,
            "dataset": self.dataset,
            "version": f"v{self.number}" if self.number else None,
            "id": self.id,
            "tree": self.tree,
            "repository": self.repository,
            "url": self.url,
            "path": self.path,
        }
        if self.split:
            found["split"] = short_split(self.split)
        return {name: value for name, value in found.items() if value}

    @classmethod
    def from_document(cls, document: Mapping[str, Any], role: str = "") -> Input:
        """What `document` gave. `BadInputError` for anything else."""
        try:
            number = document.get("version")
            found = cls(
                document["dataset"], document["id"], document["tree"], document["repository"],
                document.get("url", ""), int(number[1:]) if number else None, role,
                document.get("path", ""), document.get("split"),
            )  # fmt: skip
            texts = (found.dataset, found.id, found.tree, found.repository, found.url, found.path, found.part)
            if not all(isinstance(text, str) for text in texts):
                raise TypeError("a name or digest is no text")
            if not _ID.fullmatch(found.id):
                raise ValueError(f"{found.id[:80]!a} is no id of a version")
            return found
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BadInputError(f"what is recorded of a version is malformed: {error}") from error

    @classmethod
    def from_run(cls, given: RunInput) -> Input:
        """That of the record of a run."""
        return cls(
            given.dataset, given.version, given.tree, given.repository, given.url, given.number or None,
            given.role, split=given.split,
        )  # fmt: skip

    @classmethod
    def of(cls, given: Version | SplitView, *, role: str = "", path: str = "") -> Input:
        """That of a handle. Looks the number of the version up."""
        from dataver.parts import SplitView

        view = given if isinstance(given, SplitView) else None
        version = given.version if isinstance(given, SplitView) else given
        _, _, selector = version.name.rpartition("@")
        return cls(
            version.dataset_name,
            version.id,
            version.tree,
            version.repository.id,
            url=version.repository.url,
            number=int(selector[1:]) if selector.startswith("v") else None,
            role=role,
            path=path,
            split=None if view is None else split_document(view),
        )


def run_input(given: Input, ref: str) -> RunInput:
    """The same for the record of a run; `ref` is as it was asked for."""
    from dataver.format.run_record import RunInput

    return RunInput(
        given.role, ref, given.dataset, given.id, given.tree, given.repository, given.url,
        given.number or 0, given.split,
    )  # fmt: skip


def split_document(view: SplitView) -> dict[str, Any]:
    """Which rows a part has, as the records of runs say it."""
    definition = view.definition
    return {
        "definition": definition.to_document(),
        "digest": definition.digest,
        "name": view.split,
        "part": view.part,
    }


def short_split(split: Mapping[str, Any]) -> dict[str, Any]:
    """The document of a split, without a definition that takes much room; its digest stays."""
    document = split.get("definition")
    long = len(json.dumps(document)) > DEFINITION_BYTES_MAX
    return {**split, "definition": None if long else document}


def open_node(node: str, repo: str | Repository | None = None) -> Version | SplitView:
    """The version `REF`, or the part of it `REF:PART`, in `repo` or the repository that is found."""
    from dataver.parts import parse_node
    from dataver.repository import resolve

    ref, part = parse_node(node)
    version = resolve(ref, repo=repo)
    return version if part is None else version.split(part)


def find(given: Input, repo: str | Repository | None = None) -> Version | SplitView:
    """A handle on what was read: in `repo`, else the repository that is found here, else where it was.

    By its id, so that whoever holds the bytes has to have the very same. `NotFoundError` where no place
    has it, `ConflictError` where a split is defined otherwise there.
    """
    version = _version(given, repo)
    if not given.split:
        return version
    definition = given.split.get("definition")
    view = version.split(given.split["part"] if definition else given.part, definition)
    if view.definition.digest != given.split.get("digest"):
        raise ConflictError(
            f"{version.name} defines the part {given.part!r} otherwise than when it was read; "
            f"the definition had the digest {given.split.get('digest')}"
        )
    return view


def _version(given: Input, repo: str | Repository | None) -> Version:
    from dataver.config import find_repository
    from dataver.repository import resolve

    ref = f"{given.dataset}@{given.id}"
    if repo is not None:
        return resolve(ref, repo=repo)
    places = dict.fromkeys(filter(None, (find_repository(), given.url)))
    for place in places:
        try:
            return resolve(ref, repo=place)
        except NotFoundError:
            continue
    raise NotFoundError(
        f"version {given.id} of {given.dataset!r}, read from {given.url or 'an unknown place'}, is in no "
        "repository that is known here; name one that has it with DATAVER_REPO"
    )


def is_said(role: str) -> bool:
    """Whether a role says anything: others do not, that runs give to what was read without a word."""
    return role not in ("", DEFAULT_ROLE)


def tags_of(inputs: Iterable[Input], there: Mapping[str, str] | None = None) -> dict[str, str]:
    """`dataver.input.ROLE` for each, with what finds the bytes again; a role's second one is `ROLE.2`.

    `there` are tags that exist and stay as they are.
    """
    tags: dict[str, str] = {}
    for given in inputs:
        if not is_said(given.role) and given.tag in (there or {}).values():
            continue
        role = re.sub(r"[^\w.-]", "_", given.role or DEFAULT_ROLE, flags=re.ASCII)[:ROLE_CHARACTERS_MAX]
        key, number = f"{INPUT_TAG}{role}", 1
        while {**(there or {}), **tags}.get(key, given.tag) != given.tag:
            number += 1
            key = f"{INPUT_TAG}{role}.{number}"
        tags[key] = given.tag
    return tags
