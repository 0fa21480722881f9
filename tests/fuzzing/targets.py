"""Every reader of bytes or text that somebody else may have made, with honest samples to begin from."""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import click
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from dataver.cards.fields import read_written
from dataver.chunking.parquet_footer import MalformedFooterError, column_extents, row_groups
from dataver.cli.types import DURATION
from dataver.compression import decompress
from dataver.errors import BadInputError, CheckFailedError, DamagedError, NewerFormatError, RefNotFoundError
from dataver.format.canonical_json import parse_canonical_json
from dataver.format.provenance import PROVENANCE_TAG, provenance_of
from dataver.format.run_record import Code, Environment, ModelFile, RunInput, RunModel, RunRecord, decode_run
from dataver.globs import path_filter
from dataver.integrations.importing.dvc_files import folder_list, outputs_of_file, outputs_of_lock, settings
from dataver.integrations.importing.lfs import pointer
from dataver.lineage import bundle_check
from dataver.lineage.gathering import gather
from dataver.lineage.model_link import read_link
from dataver.lineage.small_yaml import parse_block
from dataver.lineage.spool import waiting
from dataver.moments import microseconds
from dataver.paths import RelativePath
from dataver.pins import read_lock
from dataver.provenance import load_sources
from dataver.refs import parse_ref
from dataver.signing.public import parse_line
from dataver.signing.trust import read_file
from dataver.source.ignore import IgnoreRules
from dataver.splits.definition import load
from tests.unit.test_format_malformed import READERS, SAMPLES, reseal

REFUSALS = (
    BadInputError, CheckFailedError, DamagedError, NewerFormatError, RefNotFoundError, click.UsageError,
    MalformedFooterError,
)  # fmt: skip
"""What a reader may say of bytes; anything else that it raises is a defect."""

ZEROS, HIGH, COUNT = bytes(4), b"\xff" * 8, b"\x01\0\0\0"
NUMBERS = (ZEROS, HIGH, COUNT, b"\0\0\0\x10")
JSON_WORDS = tuple(
    word.encode()
    for word in (
        "null",
        "[]",
        "{}",
        "[" * 3000,
        '{"a":' * 3000,
        "1e999",
        "NaN",
        "9" * 5000,
        "-0",
        '"\\ud800"',
        '""',
    )
)
TOML_WORDS = (
    b"[[a]]\n",
    b"[a.b]\n",
    b"= [",
    b'"""',
    b"1979-05-27",
    b"inf",
    b"9" * 5000,
    b"a.b.c = 1\n",
    b"\n",
    b"[" * 3000,
)
YAML_WORDS = (
    b"&a [*a]",
    b"*a",
    b"&a",
    b"!!python/object:os.system",
    b"!!int x",
    b"!!timestamp x",
    b"!!binary _",
    b"? [",
    b"\n- ",
    b"<<: *a",
    b"[" * 3000,
    b"- " * 3000,
    b": ",
    b"=",
    b"!!float _",
    b"2001-99-99",
)
TEXT_WORDS = (
    b"\n",
    b"\0",
    b"\xff",
    b"\xc2\x9b",
    b"9" * 30,
    b"@",
    b"~",
    b"/",
    b"..",
    b"*" * 40,
    b"[[:",
    b"a*" * 40,
    b"\\",
    b"!",
)


class Target(NamedTuple):
    """A reader: what it is given, honest samples, and words that its format knows."""

    read: Callable[[bytes], object]
    samples: tuple[bytes, ...]
    words: tuple[bytes, ...] = NUMBERS


def text_reader(read: Callable[[str], object]) -> Callable[[bytes], object]:
    """A reader of text: bytes that are not UTF-8 come as the system gives them in arguments."""
    return lambda data: read(data.decode("utf-8", "surrogateescape"))


@contextmanager
def folder_with(**files: bytes) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="dataver-fuzz-") as folder:
        for name, data in files.items():
            with open(os.path.join(folder, name.replace("_dot_", ".")), "wb") as file:
                file.write(data)
        yield folder


def file_reader(name: str, read: Callable[[str], object]) -> Callable[[bytes], object]:
    """A reader of a file: it is given the path."""

    def through_file(data: bytes) -> object:
        with folder_with(**{name.replace(".", "_dot_"): data}) as folder:
            return read(os.path.join(folder, name))

    return through_file


def in_model_folder(data: bytes, name: str) -> object:
    with folder_with(**{name.replace(".", "_dot_"): data}) as folder:
        return read_link(folder)


def from_spool(data: bytes) -> object:
    """What waits on this machine: the first part is `place.json`, the other the record of the start."""
    place, _, start = data.partition(b"\0\0")
    with folder_with() as spool:
        os.mkdir(os.path.join(spool, "0" * 32))
        for name, content in (("place.json", place), ("start", start)):
            with open(os.path.join(spool, "0" * 32, name), "wb") as file:
                file.write(content)
        before = os.environ.get("DATAVER_SPOOL_DIR")
        os.environ["DATAVER_SPOOL_DIR"] = spool
        try:
            return list(waiting())
        finally:
            os.environ.pop("DATAVER_SPOOL_DIR")
            if before is not None:
                os.environ["DATAVER_SPOOL_DIR"] = before


def from_notes(data: bytes) -> object:
    with folder_with(**{"1_dot_notes": data}) as folder:
        return gather(folder)


def from_bundle(data: bytes) -> object:
    try:
        return bundle_check.report(bundle_check.Bundle(bundle_check.unzip(data)))
    except (bundle_check.BundleError, *bundle_check.FAILURES):
        return None


def ignored(data: bytes) -> object:
    rules = IgnoreRules(data, b"", None)
    return [rules.ignores(path) for path in (b"a/b.csv", b"a/b/", b"a" * 200, b"a/" * 60)]


def globbed(text: str) -> object:
    chosen = path_filter([text], [text])
    return [chosen(path) for path in (b"a/b.csv", b"a" * 200, b"a/" * 60 + b"b")]


def run_record() -> bytes:
    digest, run = "0" * 64, "1" * 32
    return RunRecord(
        run, "train", "Ana", 1_800_000_000_000_000, status="done", exit_code=0,
        command=("python", "train.py"), code=Code("url", "1f0c", "main", dirty=True, patch=digest),
        environment=Environment("3.11", "CPython", "Linux", packages=digest, variables={"A": "b"}),
        params={"rate": 0.1, "deep": {"a": [1, None]}}, metrics={"loss": 0.5},
        inputs=(RunInput("training", "iris@v1", "iris", digest, digest, run, reads=(digest,)),),
        models=(RunModel("churn", digest, (ModelFile("weights", 3, digest),)),),
    ).encode()  # fmt: skip


def parquet_footer() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"a": [1, 2], "b": ["x", "y"]}), file)
    return file.getvalue()[:-8]


PROVENANCE = (
    b'{"derived_from":[{"dataset":"iris","id":"%b","repository":"%b","tree":"%b"}],'
    b'"sources":[{"licence":"MIT","url":"https://example.org"}]}' % (b"0" * 64, b"1" * 32, b"2" * 64)
)
LINK = {
    "dataver": 1, "model": "churn@v1", "run": "1" * 32, "repository": {"id": "1" * 32, "url": "u"},
    "inputs": [{"role": "r", "ref": "iris", "dataset": "iris", "version": "0" * 64, "tree": "0" * 64}],
}  # fmt: skip
MLMODEL = b"""flavors:
  python_function:
    env: conda.yaml
metadata:
  dataver:
    dataver: 1
    run: %b
    inputs:
    - version: %b
""" % (b"ab" * 16, b"cd" * 32)
LOCK = (
    b'format = 1\n[repository]\nid = "%b"\nurl = "u"\n[[pin]]\nref = "iris@v1"\nid = "%b"\ntree = "%b"\n'
    % (b"1" * 32, b"0" * 64, b"2" * 64)
)
SPLITS = b'[users]\nkind = "hash"\nkeys = ["user"]\nsalt = "1"\n[users.parts]\ntrain = "0.8"\ntest = "0.2"\n'
TIMES = b'{"kind": "time", "column": "day", "parts": {"past": "..2026-01-01", "future": "2026-01-01.."}}'
CARD = b'+++\nlicence = "MIT"\nowner = ["a"]\n+++\n# text\n'
CARD_YAML = b"---\nlicense: MIT\ntags:\n- a\n- b: 2026-01-01\n---\n# text\n"
PLACE = b'{"url": "u", "repository": "%b"}' % (b"1" * 32)
KEY = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
VERSION = {"repository": "1" * 32, "dataset": "iris", "version": "0" * 64, "tree": "2" * 64, "number": 1}
NOTES = b"".join(
    json.dumps(line).encode() + b"\n"
    for line in (
        ["v", 1, {**VERSION, "role": "r", "ref": "iris", "url": "u", "time_ns": 1}],
        ["f", 1, "a.csv", "3" * 64, 10],
        ["p", 1, "b.csv", "4" * 64, 10, 2, 5],
        ["r", 1, "b.csv", [[6, 7]]],
        ["a", 1],
        ["o", {**VERSION, "version": "5" * 64, "created": True}],
        ["m", {"name": "churn", "tree": "6" * 64, "files": [{"path": "w", "size": 1, "digest": "7" * 64}]}],
        ["t", {"kind": "mlflow", "run_id": "x"}],
    )
)


DVC_FILE = b"deps:\n- path: https://e.org/a\nouts:\n- md5: %b.dir\n  hash: md5\n  path: a\n" % (b"ab" * 16)
DVC_LOCK = (
    b"schema: '2.0'\nstages:\n  one@x:\n    outs:\n    - path: ../a\n      isexec: true\n      md5: %b\n"
    % (b"ab" * 16)
)
DVC_PIPELINE = b"stages:\n  one:\n    foreach: [x]\n    do:\n      wdir: sub\n"
DVC_LIST = b'[{"md5": "%b", "relpath": "a/b"}, {"md5": "%b", "relpath": "c"}]' % (b"ab" * 16, b"cd" * 16)
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:%b\nsize 12\n" % (b"ab" * 32)


def tried_kind(kind: str, data: bytes) -> object:
    return READERS[kind](reseal(kind, data))


def binary_targets() -> dict[str, Target]:
    """The objects of a repository; what is forged is sealed again, so that more than a digest is tried."""
    return {
        kind: Target(
            lambda data, kind=kind: READERS[kind](reseal(kind, data)),  # type: ignore[misc]
            tuple(sample for _, other, sample in SAMPLES if other == kind),
            NUMBERS if kind != "signature" else JSON_WORDS,
        )
        for kind in READERS
    }


TARGETS: dict[str, Target] = {
    **binary_targets(),
    "run record": Target(lambda data: decode_run(data, "it"), (run_record(),), JSON_WORDS),
    "run record of the version": Target(
        lambda data: decode_run(run_record()[:5] + data, "it"), (run_record()[5:],), JSON_WORDS
    ),
    "provenance": Target(
        lambda data: provenance_of([(PROVENANCE_TAG, 0, data)], "it"), (PROVENANCE,), JSON_WORDS
    ),
    "canonical JSON": Target(
        lambda data: parse_canonical_json(data, "it"), (PROVENANCE, b"[1,null]"), JSON_WORDS
    ),
    "frame": Target(
        lambda data: decompress(data, 5000),
        tuple(zstandard.ZstdCompressor().compress(b"frame" * length) for length in (1, 1000, 1 << 20)),
    ),
    "lock file": Target(file_reader("dataver.lock", read_lock), (LOCK,), TOML_WORDS),
    "splits": Target(lambda data: load(data, "it"), (SPLITS, TIMES), TOML_WORDS + JSON_WORDS),
    "sources": Target(
        file_reader("s.toml", load_sources),
        (b'derived_from = ["iris"]\n[[sources]]\nurl = "https://example.org"\n', b'[{"url": "u"}]'),
        TOML_WORDS + JSON_WORDS,
    ),
    "card": Target(lambda data: read_written("DATASET.md", data), (CARD, CARD_YAML), TOML_WORDS + YAML_WORDS),
    "small YAML": Target(
        text_reader(lambda text: parse_block(text, "metadata", "it")),
        (MLMODEL, b"metadata: {}\n"),
        YAML_WORDS,
    ),
    "MLmodel": Target(lambda data: in_model_folder(data, "MLmodel"), (MLMODEL,), YAML_WORDS),
    "link of a model": Target(
        lambda data: in_model_folder(data, "dataver.json"), (json.dumps(LINK).encode(),), JSON_WORDS
    ),
    "waiting run": Target(from_spool, (PLACE + b"\0\0" + run_record(),), JSON_WORDS),
    "notes of a run": Target(from_notes, (NOTES,), JSON_WORDS),
    "bundle": Target(
        from_bundle, (bundle_check.zip_bytes({"index.json": b"{}", "seal": b"x"}),), NUMBERS + JSON_WORDS
    ),
    "file of DVC": Target(lambda data: outputs_of_file(data, b"a.dvc", []), (DVC_FILE,), YAML_WORDS),
    "lock of DVC": Target(
        lambda data: outputs_of_lock(data, DVC_PIPELINE, b"b/dvc.lock", []), (DVC_LOCK,), YAML_WORDS
    ),
    "pipeline of DVC": Target(
        lambda data: outputs_of_lock(DVC_LOCK, data, b"b/dvc.lock", []), (DVC_PIPELINE,), YAML_WORDS
    ),
    "folder of DVC": Target(lambda data: folder_list(data, "md5", "it"), (DVC_LIST,), JSON_WORDS),
    "settings of DVC": Target(
        text_reader(lambda text: settings([text])),
        (b"[core]\nremote = a\n['remote \"a\"']\nurl = u\n",),
        TEXT_WORDS,
    ),
    "pointer of git-lfs": Target(pointer, (POINTER,), TEXT_WORDS),
    "ref": Target(text_reader(parse_ref), (b"iris@v1", b"vision/x@main~2", b"iris@1f0c9a2b"), TEXT_WORDS),
    "path": Target(RelativePath.parse, (b"a/b.csv",), TEXT_WORDS),
    "globs": Target(text_reader(globbed), (b"train/**/*.csv", b"[!a-z]?[[:alpha:]]*"), TEXT_WORDS),
    "ignore file": Target(ignored, (b"*.tmp\n!keep.tmp\n/build/\na/**/b\n[a-c]*\n",), TEXT_WORDS),
    "duration": Target(
        text_reader(lambda text: DURATION.convert(text, None, None)), (b"90m", b"2w"), TEXT_WORDS
    ),
    "time": Target(text_reader(microseconds), (b"2026-01-31T09:30:00Z", b"2026-01-31"), TEXT_WORDS),
    "public key": Target(text_reader(parse_line), (KEY,), TEXT_WORDS),
    "trusted keys": Target(file_reader("keys", read_file), (b"# keys\nana " + KEY + b"\n",), TEXT_WORDS),
    "Parquet footer": Target(
        lambda data: (column_extents(data), row_groups(data)), (parquet_footer(),), NUMBERS
    ),
}


def attempt(target: Target, data: bytes) -> bool:
    """Read; whether it was taken. What is no refusal goes through."""
    try:
        target.read(data)
    except REFUSALS:
        return False
    return True
