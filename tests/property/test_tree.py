"""Trees against dictionaries: updates give the tree of a build, and read no more than they must."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest import mock

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dataver.digest import Digest
from dataver.errors import DamagedError
from dataver.format.node import Row
from dataver.tree import split
from dataver.tree.build import build
from dataver.tree.diff import diff
from dataver.tree.manifest import CHUNKS_TAG, Entry, chunks_extra, to_entry, to_row
from dataver.tree.prove import check, prove
from dataver.tree.schema import MANIFEST, Link, MemoryNodes, Node
from dataver.tree.split import SplitRule
from dataver.tree.update import update
from dataver.tree.walk import find, links, prefix_stop, scan

Model = dict[bytes, Row]

# Small nodes make deep trees of few rows; the last is ended by the weight of its keys.
RULES = [
    (SplitRule(2, 8, 3), 1 << 20),
    (SplitRule(2, 4, 1), 1 << 20),
    (SplitRule(3, 5, 7), 1 << 20),
    (SplitRule(2, 1000, 255), 100),
]
rules = st.sampled_from(RULES)
seeds = st.integers(0, 2**32)


@contextmanager
def small_nodes(rule: tuple[SplitRule, int]) -> Iterator[None]:
    with (
        mock.patch.object(split, "LEAF_RULE", rule[0]),
        mock.patch.object(split, "INNER_RULE", rule[0]),
        mock.patch.object(split, "WEIGHT_MAX", rule[1]),
    ):
        yield


class CountedNodes(MemoryNodes):
    """Notes the digest of every node that is read, and of every one that is written."""

    def __init__(self, below: MemoryNodes | None = None) -> None:
        super().__init__(MANIFEST, below)
        self.loaded: list[bytes] = []
        self.saved: list[bytes] = []

    def load(self, link: Link) -> Node:
        self.loaded.append(link.digest)
        return super().load(link)

    def save(self, level: int, rows: Sequence[Row]) -> Link:
        link = super().save(level, rows)
        self.saved.append(link.digest)
        return link


def row(key: bytes, value: int, *, listed: bool = False) -> Row:
    digest = value.to_bytes(32, "big")
    extras = chunks_extra(digest[::-1]) if listed else ()
    return to_row(Entry(key, value % 2, value % 3 == 0, value, digest, extras))


def some_key(chance: random.Random) -> bytes:
    """Keys that share long prefixes, in clusters."""
    return b"%s/%s%d" % (
        chance.choice([b"a", b"b/" * 9, b"\xc3\xa9", b"a."]),
        chance.choice([b"", b"x", b"a" * 20]),
        chance.randrange(400),
    )


def some_model(seed: int, count: int) -> Model:
    chance = random.Random(seed)
    keys = {some_key(chance) for _ in range(count)}
    return {key: row(key, chance.randrange(1000), listed=chance.random() < 0.2) for key in keys}


def rows_of(model: Model) -> list[Row]:
    return [model[key] for key in sorted(model)]


def some_edits(chance: random.Random, model: Model, kind: str) -> dict[bytes, Row | None]:
    keys = sorted(model)
    few = chance.sample(keys, min(len(keys), chance.randrange(1, 6)))
    match kind:
        case "set":
            return {key: row(key, chance.randrange(1000)) for key in (*few, some_key(chance))}
        case "remove":
            return dict.fromkeys([*few, b"not there", b"\xff" * 9])
        case "mix":
            edits: dict[bytes, Row | None] = dict.fromkeys(few[::2])
            edits.update({key: row(key, chance.randrange(1000)) for key in few[1::2]})
            edits.update(
                {key: row(key, 1) for key in (some_key(chance) for _ in range(chance.randrange(40)))}
            )
            return edits
        case "range":
            start = chance.randrange(len(keys) + 1)
            return dict.fromkeys(keys[start : start + chance.randrange(len(keys) + 1)])
        case "ends":
            return {
                key: row(key, 5) for key in (b"\0", b"\0\0", b"\xff", b"\xff\xff" + bytes([len(keys) % 256]))
            }
        case "only ends":
            return dict.fromkeys([*keys[:1], *keys[-1:]])
        case "all but one":
            return dict.fromkeys(key for key in keys if key not in few[:1])
        case "everything":
            return dict.fromkeys(keys)
        case _:
            return {key: model[key] for key in few}


KINDS = ["set", "remove", "mix", "range", "ends", "only ends", "all but one", "everything", "the same"]


@given(rules, seeds, st.integers(0, 300), st.lists(st.sampled_from(KINDS), min_size=1, max_size=6))
def test_updates_give_the_tree_of_a_build(
    rule: tuple[SplitRule, int], seed: int, count: int, kinds: list[str]
) -> None:
    with small_nodes(rule):
        model = some_model(seed, count)
        nodes = MemoryNodes(MANIFEST)
        root = build(nodes, rows_of(model))
        chance = random.Random(seed)
        for kind in kinds:
            edits = some_edits(chance, model, kind)
            for key, edited in edits.items():
                if edited is None:
                    model.pop(key, None)
                else:
                    model[key] = edited
            root = update(nodes, root, edits)
            fresh = MemoryNodes(MANIFEST)
            assert root == build(fresh, rows_of(model))
            assert {link.digest for link in links(nodes, root)} == set(fresh.encoded)
            assert root.rows == len(model)


@given(rules, seeds, st.integers(0, 200))
def test_nodes_decode_to_what_was_encoded(rule: tuple[SplitRule, int], seed: int, count: int) -> None:
    with small_nodes(rule):
        nodes = MemoryNodes(MANIFEST)
        root = build(nodes, rows_of(some_model(seed, count)))
        for link in links(nodes, root):
            data = nodes.encoded[link.digest]
            node = MANIFEST.decode(data, "it")
            assert node == nodes.load(link)
            again, same = MANIFEST.encode(node.level, node.rows)
            assert again == data
            assert same == link


@given(rules, seeds, st.integers(0, 200), st.binary(max_size=4), st.binary(max_size=4))
def test_find_and_scan_are_those_of_a_sorted_dictionary(
    rule: tuple[SplitRule, int], seed: int, count: int, low: bytes, high: bytes
) -> None:
    with small_nodes(rule):
        model = some_model(seed, count)
        nodes = CountedNodes()
        root = build(nodes, rows_of(model))
        chance = random.Random(seed + 1)
        for key in [low, b"", *(some_key(chance) for _ in range(20))]:
            assert find(nodes, root, key) == model.get(key)
        starts = [low, *chance.sample(sorted(model), min(3, len(model)))]
        for start in starts:
            for stop in (None, high, *starts):
                expected = [model[k] for k in sorted(model) if k >= start and (stop is None or k < stop)]
                assert list(scan(nodes, root, start, stop)) == expected
        for prefix in (b"a", b"b/", b"a/x", low):
            expected = [model[k] for k in sorted(model) if k.startswith(prefix)]
            assert list(scan(nodes, root, prefix, prefix_stop(prefix))) == expected


@given(rules, seeds, st.integers(0, 300), st.sampled_from(KINDS), st.integers(0, 300))
def test_diff_is_that_of_dictionaries_and_reads_no_node_that_both_have(
    rule: tuple[SplitRule, int], seed: int, count: int, kind: str, other: int
) -> None:
    with small_nodes(rule):
        old = some_model(seed, count)
        new: Model = dict(old)
        for key, edited in some_edits(random.Random(seed), old, kind).items():
            if edited is None:
                new.pop(key, None)
            else:
                new[key] = edited
        for a, b in ((old, new), (new, old), (old, some_model(seed + 1, other))):
            nodes = CountedNodes()
            a_root, b_root = build(nodes, rows_of(a)), build(nodes, rows_of(b))
            shared = {k.digest for k in links(nodes, a_root)} & {k.digest for k in links(nodes, b_root)}
            nodes.loaded.clear()
            found = list(diff(nodes, a_root, nodes, b_root))
            assert found == [
                (key, a.get(key), b.get(key))
                for key in sorted({*a, *b})
                if key not in a or key not in b or to_entry(a[key])[:5] != to_entry(b[key])[:5]
            ]
            assert not (set(nodes.loaded) & shared) - {a_root.digest, b_root.digest}


@given(rules, seeds, st.integers(1, 200))
def test_where_chunks_are_is_no_difference(rule: tuple[SplitRule, int], seed: int, count: int) -> None:
    with small_nodes(rule):
        model = some_model(seed, count)
        other = {key: each._replace(extras=chunks_extra(b"\xff" * 32)) for key, each in model.items()}
        nodes = MemoryNodes(MANIFEST)
        a, b = build(nodes, rows_of(model)), build(nodes, rows_of(other))
        assert a.identity == b.identity
        assert a.digest != b.digest
        assert list(diff(nodes, a, nodes, b)) == []


@given(rules, seeds, st.integers(1, 200), st.data())
def test_proofs_hold_and_no_other_does(
    rule: tuple[SplitRule, int], seed: int, count: int, data: st.DataObject
) -> None:
    with small_nodes(rule):
        model = some_model(seed, count)
        nodes = MemoryNodes(MANIFEST)
        root = build(nodes, rows_of(model))
        tree = Digest(root.identity)
        key = data.draw(st.sampled_from(sorted(model)))
        proof = prove(nodes, root, key)
        assert proof is not None
        check(MANIFEST, tree, key, model[key].fixed, proof)

        for absent in (b"", key + b"\0", b"\xff\xff\xff"):
            assert prove(nodes, root, absent) is None
            with pytest.raises(DamagedError):
                check(MANIFEST, tree, absent, model[key].fixed, proof)
        fixed = bytearray(model[key].fixed)
        fixed[data.draw(st.integers(0, len(fixed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        with pytest.raises(DamagedError):
            check(MANIFEST, tree, key, bytes(fixed), proof)
        for forged in forgeries(proof, data):
            with pytest.raises(DamagedError):
                check(MANIFEST, tree, key, model[key].fixed, forged)
        other_key = data.draw(st.sampled_from(sorted(model)))
        assume(model[other_key].fixed != model[key].fixed)
        with pytest.raises(DamagedError):
            check(MANIFEST, tree, key, model[other_key].fixed, proof)


def forgeries(proof: list[bytes], data: st.DataObject) -> Iterator[list[bytes]]:
    number = data.draw(st.integers(0, len(proof) - 1))
    at = data.draw(st.integers(0, len(proof[number]) - 1))
    node = bytearray(proof[number])
    node[at] ^= 1 << data.draw(st.integers(0, 7))
    yield [*proof[:number], bytes(node), *proof[number + 1 :]]
    yield [*proof[:number], proof[number][:at], *proof[number + 1 :]]
    yield proof[:-1]
    yield proof[1:]
    yield [*proof, proof[-1]]
    yield []


def test_rows_of_these_tests_have_what_manifests_have() -> None:
    assert to_entry(row(b"k", 7, listed=True)).chunks is not None
    assert row(b"k", 7, listed=True).extras[0][0] == CHUNKS_TAG
