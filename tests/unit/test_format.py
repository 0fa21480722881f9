"""Every operation of the log is read as it was written, whatever stands in its fields."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataver.digest import Digest
from dataver.errors import DamagedError, DataverError
from dataver.format import fields
from dataver.format import operations as ops
from dataver.format.binary import Reader, Writer
from dataver.format.fields import Codec
from dataver.format.node import Row
from dataver.format.operations import KINDS, Operation
from dataver.tree.schema import MANIFEST, STATE, TreeSchema

digests = st.binary(min_size=32, max_size=32).map(Digest)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES: dict[Codec, st.SearchStrategy[Any]] = {
    fields.U8: st.integers(0, 255),
    fields.U64: st.integers(0, 2**64 - 1),
    fields.TEXT: texts,
    fields.BLOB: st.binary(max_size=20),
    fields.ENVELOPE: st.binary(max_size=20),
    fields.ID: st.binary(min_size=16, max_size=16),
    fields.DIGEST: digests,
    fields.OPTIONAL: st.none() | digests.filter(lambda digest: digest != fields.NO_DIGEST),
    fields.DIGESTS: st.lists(digests, max_size=3).map(tuple),
    fields.TEXTS: st.lists(texts, max_size=3).map(tuple),
}


def written(*operations: Operation) -> bytes:
    writer = Writer()
    ops.write_operations(writer, operations)
    return writer.finish()


def read(data: bytes) -> tuple[Operation, ...]:
    reader = Reader(data, "it")
    found = ops.read_operations(reader)
    reader.end()
    return found


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.__name__)
def test_every_field_is_written(kind: type[Operation]) -> None:
    assert list(kind.FIELDS) == [name for name in kind.__dataclass_fields__ if name not in ("TAG", "FIELDS")]
    assert KINDS[kind.TAG] is kind


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_operations_are_read_as_they_were_written(kind: type[Operation], data: st.DataObject) -> None:
    operation = kind(**{name: data.draw(VALUES[codec], name) for name, codec in kind.FIELDS.items()})
    encoded = written(operation)
    assert read(encoded) == (operation,)
    for length in range(len(encoded)):
        with pytest.raises(DamagedError):
            read(encoded[:length])
    at, flip = data.draw(st.integers(0, len(encoded) - 1)), data.draw(st.integers(1, 255))
    broken = bytearray(encoded)
    broken[at] ^= flip
    try:
        found = read(bytes(broken))
    except DataverError:
        return
    assert found != (operation,) or at == 8  # The flags of a known operation say nothing more.


@pytest.mark.parametrize("schema", [MANIFEST, STATE], ids=["manifest", "state"])
def test_a_node_above_others_has_some_below(schema: TreeSchema) -> None:
    assert schema.decode(schema.encode(0, [])[0], "it").rows == list[Row]()
    with pytest.raises(DamagedError):
        schema.decode(schema.encode(1, [])[0], "it")
