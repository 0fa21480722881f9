"""What DVC writes: `.dvc` files, `dvc.lock`, the lists of folders, its configuration. None of it is trusted.

YAML is read with every scalar as text, within bounds, and without aliases, by which a short text can stand
for an endless one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from dataver.errors import BadInputError, DamagedError, MissingExtraError
from dataver.integrations.importing.pointed import MD5, MD5_TEXT, Pointed, check_tree
from dataver.paths import RelativePath, safe_spelling
from dataver.values import dataclass

__all__ = [
    "DOCUMENT_BYTES_MAX",
    "LIST_BYTES_MAX",
    "Output",
    "OutsideError",
    "folder_list",
    "load_yaml",
    "outputs_of_file",
    "outputs_of_lock",
    "settings",
]

DOCUMENT_BYTES_MAX = 16 << 20
LIST_BYTES_MAX = 512 << 20
DEPTH_MAX = 64
FOLDER_MARK = ".dir"
_MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")
_REMOTE = re.compile(r"remote \"(.*)\"")


class OutsideError(BadInputError):
    """A path of a file of DVC's that leads out of the repository."""


@dataclass(frozen=True, slots=True)
class Output:
    """What DVC keeps at `path` of the git repository: a file, or a folder by the MD5 of its list.

    `urls` say where it was downloaded from, `remote` is the remote that it alone is in, if it names one.
    """

    path: bytes
    md5: str
    algorithm: str
    executable: bool = False
    remote: str = ""
    urls: tuple[str, ...] = ()

    @property
    def is_folder(self) -> bool:
        """Whether the MD5 is that of a list of files."""
        return self.md5.endswith(FOLDER_MARK)


def load_yaml(data: bytes, what: str) -> Any:
    """A document in which every scalar is a text. `BadInputError` for what is malformed or too much."""
    try:
        import yaml
    except ImportError:
        raise MissingExtraError(
            "what DVC writes is read with PyYAML, which is not installed; pip install 'dataver[import]'"
        ) from None
    if len(data) > DOCUMENT_BYTES_MAX:
        raise BadInputError(f"{what} has more than {DOCUMENT_BYTES_MAX >> 20} MiB")
    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    depth = 0
    try:
        for event in yaml.parse(data, loader):
            if isinstance(event, yaml.events.AliasEvent):
                raise BadInputError(f"{what} has an alias (*), which is not supported")
            depth += isinstance(event, yaml.events.CollectionStartEvent)
            depth -= isinstance(event, yaml.events.CollectionEndEvent)
            if depth > DEPTH_MAX:
                raise BadInputError(f"{what} is nested too deeply")
        return yaml.load(data, loader)  # noqa: S506 - it makes texts, lists and mappings alone
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, TypeError) as error:
        raise BadInputError(f"{what} cannot be read as YAML: {' '.join(str(error).split())[:200]}") from None


def outputs_of_file(data: bytes, path: bytes, problems: list[str]) -> list[Output]:
    """The outputs of a `.dvc` file at a path of the git repository; what is wrong with others is told.

    `BadInputError` where the file as a whole is malformed.
    """
    what = safe_spelling(path)
    document = _mapping(load_yaml(data, what), what)
    folder = join(path.rpartition(b"/")[0], _text(document.get("wdir", "."), what), what)
    urls = tuple(filter(None, (_url(given) for given in _mappings(document.get("deps"), what))))
    return list(_outputs(_mappings(document.get("outs"), what), folder, what, urls, problems))


def outputs_of_lock(data: bytes, pipeline: bytes | None, path: bytes, problems: list[str]) -> list[Output]:
    """The outputs in a `dvc.lock`; `pipeline` is the `dvc.yaml` beside it, which says where stages work."""
    what = safe_spelling(path)
    document = _mapping(load_yaml(data, what), what)
    stages = _mapping(document.get("stages") or {}, what) if "schema" in document else document
    folders = _working_folders(pipeline, path)
    found: list[Output] = []
    for name, stage in stages.items():
        within = folders.get(name, folders.get(name.partition("@")[0], "."))
        try:
            folder = join(path.rpartition(b"/")[0], within, what)
        except OutsideError as error:
            problems.append(str(error))
            continue
        found += _outputs(_mappings(_mapping(stage, what).get("outs"), what), folder, what, (), problems)
    return found


def _outputs(
    rows: list[dict[str, Any]], folder: bytes, what: str, urls: tuple[str, ...], problems: list[str]
) -> Iterator[Output]:
    for given in rows:
        try:
            output = _output(given, folder, what, urls)
        except BadInputError as error:
            problems.append(str(error))
            continue
        if output is not None:
            yield output


def _working_folders(pipeline: bytes | None, path: bytes) -> Mapping[str, str]:
    """Where the stages of a `dvc.yaml` work, for those that say so."""
    if pipeline is None:
        return {}
    what = safe_spelling(path.removesuffix(b".lock") + b".yaml")
    document = load_yaml(pipeline, what)
    stages = document.get("stages") if isinstance(document, dict) else None
    found = {}
    for name, stage in stages.items() if isinstance(stages, dict) else ():
        body = stage.get("do", stage) if isinstance(stage, dict) else None
        if isinstance(body, dict) and isinstance(body.get("wdir"), str):
            found[name] = body["wdir"]
    return found


def _output(given: Mapping[str, Any], folder: bytes, what: str, urls: tuple[str, ...]) -> Output | None:
    """An output; None for one that DVC does not keep, or has no MD5 of.

    `OutsideError` for a path that leads out of the repository, `BadInputError` for what is malformed.
    """
    md5 = given.get("md5")
    if not md5 or given.get("cache") == "false":
        return None
    if not isinstance(md5, str) or not _MD5.fullmatch(md5):
        raise BadInputError(f"{what} names an output by {str(md5)[:60]!a}, which is no MD5")
    # DVC 3 says which hash it is; before, line ends of texts did not count.
    algorithm = MD5 if given.get("hash") == "md5" else MD5_TEXT
    path = join(folder, _text(given.get("path"), what), what)
    if not path:
        raise OutsideError(f"{what} has an output that is the repository itself")
    executable = given.get("isexec") == "true"
    remote = given.get("remote")
    return Output(path, md5, algorithm, executable, remote if isinstance(remote, str) else "", urls)


def join(folder: bytes, path: str, what: str) -> bytes:
    """A path of a document as one of the git repository. `OutsideError` where it leads out of that."""
    raw = path.encode("utf-8", "surrogateescape")
    parts = [] if not folder else folder.split(b"/")
    if raw.startswith((b"/", b"~")) or re.match(rb"[A-Za-z][A-Za-z0-9+.-]*:", raw) or b"${" in raw:
        raise OutsideError(f"{what} has an output at {safe_spelling(path)}, which is not in the repository")
    for part in raw.split(b"/"):
        if part == b"..":
            if not parts:
                raise OutsideError(
                    f"{what} has an output at {safe_spelling(path)}, which leads out of the repository"
                )
            parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
    return bytes(RelativePath.parse(b"/".join(parts))) if parts else b""


def folder_list(data: bytes, algorithm: str, what: str) -> list[Pointed]:
    """The files of a folder by its list. `BadInputError` where it is no list, or names what cannot be."""
    try:
        found = [
            Pointed(
                bytes(RelativePath.parse(_plain_text(row["relpath"]))),
                algorithm,
                _plain_md5(row["md5"]),
                executable=row.get("isexec") is True,
            )
            for row in _plain_list(json.loads(data))
        ]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        if isinstance(error, BadInputError):
            raise
        raise DamagedError(f"the list of the folder {what} is malformed: {error}") from None
    paths = [pointed.path for pointed in found]
    if len(set(paths)) < len(paths):
        raise DamagedError(f"the list of the folder {what} has a path twice")
    check_tree(paths)
    return found


def settings(texts: list[str]) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """The settings `SECTION.KEY`, and those of remotes by name, of files of configuration; later ones win."""
    from configparser import Error, RawConfigParser

    parser = RawConfigParser(strict=False, default_section="\0", inline_comment_prefixes=None)
    for text in texts:
        try:
            parser.read_string("\n".join(line.strip() for line in text.splitlines()))
        except Error as error:
            reason = " ".join(str(error).split())[:200]
            raise BadInputError(f"the configuration of DVC cannot be read: {reason}") from None
    plain: dict[str, str] = {}
    remotes: dict[str, dict[str, str]] = {}
    for section in parser.sections():
        values = {key: _unquoted(value) for key, value in parser.items(section)}
        remote = _REMOTE.fullmatch(section.strip("'"))
        if remote:
            remotes[remote[1]] = values
        else:
            plain |= {f"{section}.{key}": value for key, value in values.items()}
    return plain, remotes


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value


def _plain_list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("it is no list")
    return value


def _plain_text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a path is no text")
    return value


def _plain_md5(value: object) -> str:
    if not isinstance(value, str) or not _MD5.fullmatch(value) or value.endswith(FOLDER_MARK):
        raise ValueError(f"{str(value)[:60]!a} is no MD5")
    return value


def _url(dependency: Mapping[str, Any]) -> str:
    """Where an output was downloaded from, if its `.dvc` file says so."""
    there = dependency.get("repo")
    if isinstance(there, dict) and isinstance(there.get("url"), str):
        return str(there["url"])
    path = dependency.get("path")
    return path if isinstance(path, str) and "://" in path else ""


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise BadInputError(f"{what} is malformed: a path is missing")
    return value


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise BadInputError(f"{what} is malformed: a mapping is missing")
    return value


def _mappings(value: Any, what: str) -> list[dict[str, Any]]:
    if not value:
        return []
    if not isinstance(value, list):
        raise BadInputError(f"{what} is malformed: a list is missing")
    return [_mapping(item, what) for item in value]
