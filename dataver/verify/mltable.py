"""The file `MLTable` that an export to Azure ML writes beside a version's tables, for `mltable.load`.

It follows from the files alone, so that whoever compares such an export with the version knows what it
must be: another one would have jobs read other tables.
"""

from __future__ import annotations

import json
import os
import re

from dataver.files import Files, below
from dataver.tables.footer import PARQUET_SUFFIXES
from dataver.tree.manifest import FOLDER, Entry

__all__ = ["MLTABLE_FILE", "mltable_file", "yaml_text"]

MLTABLE_FILE = "MLTable"
_CSV = "read_delimited: {delimiter: ',', encoding: utf8, header: all_files_same_headers}"
_READERS = (
    (PARQUET_SUFFIXES, "read_parquet"),
    ((".csv",), _CSV),
    ((".jsonl", ".ndjson"), "read_json_lines: {encoding: utf8, invalid_lines: error}"),
)
_BEYOND_16_BITS = re.compile("([\U00010000-\U0010ffff])")
_TOP = Entry(b"", FOLDER, False, 0, b"")


def mltable_file(files: Files) -> bytes | None:
    """Its bytes: the Parquet files of the version, else those of CSV, else of JSON lines, one by one.

    None where there are no tables, or the version has a file of this name itself.
    """
    if files.get(os.fsencode(MLTABLE_FILE)) is not None:
        return None
    for suffixes, reader in _READERS:
        paths = below(files, _TOP, "", suffixes)
        if paths:
            lines = "".join(f"  - file: {yaml_text(f'./{path}')}\n" for path in paths)
            return f"type: mltable\npaths:\n{lines}transformations:\n  - {reader}\n".encode()
    return None


def yaml_text(text: str) -> str:
    """A scalar of YAML, in ASCII, that is this text, whatever is in it.

    It is JSON's, but for characters that JSON writes as two halves, which YAML would take for two.
    """
    parts = enumerate(_BEYOND_16_BITS.split(text))
    inside = (f"\\U{ord(part):08x}" if number % 2 else json.dumps(part)[1:-1] for number, part in parts)
    return f'"{"".join(inside)}"'
