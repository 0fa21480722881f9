"""Trees by the rules of the format: what an edit costs, how large nodes get, trees that somebody made up."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable, Iterable

import pytest

from dataver.errors import DamagedError
from dataver.format.limits import NODE_BYTES_MAX, NODE_KEYS_BYTES_MAX, PATH_BYTES_MAX
from dataver.format.node import KEY_TAG, KEYS, Row
from dataver.hashing import blake3_digest, xxh3_64
from dataver.tree.build import build, empty
from dataver.tree.diff import diff
from dataver.tree.manifest import Entry, reference_extra, to_row
from dataver.tree.prove import prove
from dataver.tree.schema import MANIFEST, Link, LinkedNode, MemoryNodes, Node
from dataver.tree.split import INNER_RULE, LEAF_RULE, LIST_RULE, WEIGHT_MAX, SplitRule, Splitter
from dataver.tree.update import update
from dataver.tree.walk import find, links, prefix_stop, scan
from tests.property.test_tree import CountedNodes

ROWS = 20_000


def row(key: bytes, value: int = 0) -> Row:
    return to_row(Entry(key, 0, False, value, value.to_bytes(32, "big")))


def key(number: int) -> bytes:
    return b"folder-%03d/file-%06d.txt" % (number // 100, number)


@pytest.fixture(scope="module")
def large() -> tuple[MemoryNodes, Link]:
    nodes = MemoryNodes(MANIFEST)
    return nodes, build(nodes, [row(key(number)) for number in range(ROWS)])


def test_the_rules_are_constants_of_the_format() -> None:
    assert SplitRule(128, 2048, 511) == LEAF_RULE
    assert SplitRule(32, 512, 127) == INNER_RULE
    assert WEIGHT_MAX == 1 << 20


@pytest.mark.parametrize(("level", "rule"), [(0, LEAF_RULE), (1, INNER_RULE), (2, INNER_RULE)])
def test_a_node_ends_where_the_seeded_hash_says(level: int, rule: SplitRule) -> None:
    splitter = Splitter(level)
    rows = 0
    for number in range(30_000):
        rows += 1
        name = key(number)
        meets = rows >= rule.rows_min and not xxh3_64(name, level) & rule.mask
        assert splitter.ends_after(name, len(name)) == (meets or rows == rule.rows_max)
        if meets or rows == rule.rows_max:
            rows = 0


def test_a_node_ends_with_the_row_that_makes_it_weigh_a_mebibyte() -> None:
    splitter = Splitter(0)
    weights = [600_000, 400_000, 48_575, 1, 1 << 20, 1]
    assert [splitter.ends_after(b"k", weight) for weight in weights] == [
        False,
        False,
        False,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize("rule", [LEAF_RULE, LIST_RULE, SplitRule(1, 3, 1), SplitRule(5, 5, 0)])
@pytest.mark.parametrize("together", [1, 7, 500, 9_000])
@pytest.mark.parametrize("weight", [0, 9, 40_000])
def test_many_rows_end_nodes_where_they_do_one_by_one(rule: SplitRule, together: int, weight: int) -> None:
    keys = [key(number) for number in range(9_000)]
    one, many = Splitter(1, rule), Splitter(1, rule)
    expected = [number + 1 for number, name in enumerate(keys) if one.ends_after(name, weight)]
    found = [
        start + end
        for start in range(0, len(keys), together)
        for end in many.ends(keys[start : start + together], [weight] * len(keys[start : start + together]))
    ]
    assert found == expected
    assert len(expected) > 3


def test_an_edit_reads_and_writes_a_node_or_two_a_level(large: tuple[MemoryNodes, Link]) -> None:
    nodes, root = large
    chance = random.Random(5)
    for _ in range(50):
        counted = CountedNodes(nodes)
        number = chance.randrange(ROWS)
        edits: dict[bytes, Row | None] = {
            key(number): chance.choice([None, row(key(number), 1)]),
            key(number) + b"x": row(key(number) + b"x", 2),
        }
        changed = update(counted, root, edits)
        assert changed != root
        # A new cut point may ask for the neighbour too.
        assert len(set(counted.loaded)) <= 6
        assert len(counted.encoded) <= 6
        counted.loaded.clear()
        assert len(list(diff(counted, root, counted, changed))) == 2
        assert len(set(counted.loaded)) <= 12


def test_an_edit_that_changes_nothing_gives_the_root_that_was(large: tuple[MemoryNodes, Link]) -> None:
    nodes, root = large
    counted = CountedNodes(nodes)
    assert update(counted, root, {}) is root
    assert update(counted, root, {b"not there": None, b"": None, b"zzz": None}) is root
    assert update(counted, root, {key(7): row(key(7)), key(9_000): row(key(9_000))}) is root


def test_looking_up_reads_a_node_a_level(large: tuple[MemoryNodes, Link]) -> None:
    nodes, root = large
    depth = nodes.load(root).level + 1
    counted = CountedNodes(nodes)
    assert find(counted, root, key(12_345)) == row(key(12_345))
    assert len(counted.loaded) == depth
    counted.loaded.clear()
    assert [r.key for r in scan(counted, root, key(500), key(510))] == [key(n) for n in range(500, 510)]
    assert len(counted.loaded) <= depth + 1


def test_no_rows_are_a_leaf_without_rows() -> None:
    nodes = MemoryNodes(MANIFEST)
    root = build(nodes, [])
    assert root == empty(nodes)
    assert (root.rows, root.size_bytes, nodes.load(root)) == (0, 0, Node(0, []))
    assert (list(scan(nodes, root)), find(nodes, root, b""), prove(nodes, root, b"a")) == ([], None, None)
    one = update(nodes, root, {b"a": row(b"a")})
    assert one == build(nodes, [row(b"a")])
    assert update(nodes, one, {b"a": None}) == root


def test_folders_that_are_empty_are_no_files() -> None:
    nodes = MemoryNodes(MANIFEST)
    folder = to_row(Entry(b"f", 2, False, 0, blake3_digest(b"")))
    root = build(nodes, [row(b"a", 10), folder, to_row(Entry(b"s", 1, False, 3, bytes(32)))])
    assert (root.rows, root.size_bytes) == (2, 13)


@pytest.mark.parametrize(
    ("prefix", "stop"),
    [
        (b"", None),
        (b"\xff\xff", None),
        (b"a", b"b"),
        (b"a/", b"a0"),
        (b"a\xff", b"b"),
        (b"a\x00", b"a\x01"),
        (b"a\xfe\xff\xff", b"a\xff"),
    ],
)
def test_prefix_stop(prefix: bytes, stop: bytes | None) -> None:
    assert prefix_stop(prefix) == stop


# Sizes


def longest_paths(count: int) -> list[bytes]:
    """Paths of the greatest length that share nothing."""
    parts = [b"%05d/" % number + b"x" * 249 + b"/" for number in range(count)]
    return [(part * 300)[: PATH_BYTES_MAX - 1] + b"e" for part in parts]


def test_nodes_of_the_longest_paths_and_references_stay_below_the_limit() -> None:
    nodes = MemoryNodes(MANIFEST)
    paths = longest_paths(400)
    root = build(nodes, map(row, paths))
    assert nodes.load(root).level >= 2
    for data in nodes.encoded.values():
        assert len(data) < NODE_BYTES_MAX // 4
        MANIFEST.decode(data, "it")
    assert [r.key for r in scan(nodes, root)] == paths

    nodes = MemoryNodes(MANIFEST)
    extras = reference_extra("file:///" + "u" * 2000, "e" * 200)
    entries = [Entry(b"%05d" % number, 3, False, 1, bytes(32), extras) for number in range(5_000)]
    root = build(nodes, map(to_row, entries))
    assert max(map(len, nodes.encoded.values())) < NODE_BYTES_MAX
    assert len(list(links(nodes, root))) > 2


def front_coded(keys: Iterable[tuple[int, bytes]]) -> bytes:
    """A manifest leaf with these keys, as (bytes shared, bytes that follow), and zeros for the rest."""
    pairs = list(keys)
    shared = b"".join(length.to_bytes(2, "little") for length, _ in pairs)
    lengths = b"".join(len(suffix).to_bytes(2, "little") for _, suffix in pairs)
    column = shared + lengths + b"".join(suffix for _, suffix in pairs)
    nodes = [(KEY_TAG, 3, KEYS, 0, column)]
    nodes += [
        (tag, 3, 1, width, bytes(width * len(pairs)))
        for tag, width in ((b"dgst", 32), (b"kind", 1), (b"size", 8))
    ]
    nodes.sort()
    body = b"".join(
        tag + bytes([flags, shape]) + width.to_bytes(2, "little") + len(data).to_bytes(4, "little") + data
        for tag, flags, shape, width, data in nodes
    )
    return b"DVNT" + bytes([1, 0, 4, 0]) + len(pairs).to_bytes(4, "little") + body


def test_keys_that_spell_out_gigabytes_are_refused_before_they_do() -> None:
    """60,000 rows of 65,535 bytes fit into 3 MB of front-coded keys."""
    first = (0, b"a" * 65_000)
    bomb = front_coded([first, *((65_000 + n // 256, bytes([n % 256])) for n in range(60_000))])
    assert len(bomb) < NODE_BYTES_MAX
    tracemalloc.start()
    try:
        with pytest.raises(DamagedError, match="keys have"):
            MANIFEST.decode(bomb, "it")
        assert tracemalloc.get_traced_memory()[1] < 30 << 20
    finally:
        tracemalloc.stop()


def test_all_the_keys_that_a_writer_puts_into_a_node_are_taken() -> None:
    """One byte short of a mebibyte, and then one more of the greatest length."""
    lengths = [*[PATH_BYTES_MAX] * 15, (1 << 20) - 1 - 15 * PATH_BYTES_MAX - 16, 16, PATH_BYTES_MAX]
    paths = [b"%05d" % number + b"x" * (length - 5) for number, length in enumerate(lengths)]
    assert sum(map(len, paths)) == NODE_KEYS_BYTES_MAX - 1
    nodes = MemoryNodes(MANIFEST)
    root = build(nodes, map(row, paths))
    assert nodes.load(root).level == 0
    assert [r.key for r in MANIFEST.decode(nodes.encoded[root.digest], "it").rows] == paths
    assert MANIFEST.decode(front_coded([(0, path) for path in paths]), "it").level == 0
    with pytest.raises(DamagedError, match="keys have"):
        MANIFEST.decode(front_coded([(0, path) for path in (*paths, b"99")]), "it")


# Trees that no writer makes


def made_up(nodes: MemoryNodes, *levels: int) -> Link:
    """A chain of nodes on these levels, the lowest first."""
    link = nodes.save(levels[0], [row(b"a")] if levels[0] == 0 else [])
    for level in levels[1:]:
        link = nodes.save(level, [MANIFEST.row(LinkedNode(b"a", link))])
    return link


READERS: list[Callable[[MemoryNodes, Link], object]] = [
    lambda nodes, root: find(nodes, root, b"a"),
    lambda nodes, root: list(scan(nodes, root)),
    lambda nodes, root: list(links(nodes, root)),
    lambda nodes, root: prove(nodes, root, b"a"),
    lambda nodes, root: list(diff(nodes, root, nodes, empty(nodes))),
    lambda nodes, root: list(diff(nodes, build(nodes, [row(b"b")]), nodes, root)),
    lambda nodes, root: update(nodes, root, {b"a": None}),
    lambda nodes, root: update(nodes, root, {b"b": row(b"b")}),
]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("levels", [(0, 2), (0, 1, 1), (0, 1, 3), (0, 1, 2, 2), (1, 1)])
def test_levels_that_do_not_follow_are_damage(
    read: Callable[[MemoryNodes, Link], object], levels: tuple[int, ...]
) -> None:
    nodes = MemoryNodes(MANIFEST)
    with pytest.raises(DamagedError):
        read(nodes, made_up(nodes, *levels))


@pytest.mark.parametrize("read", READERS)
def test_a_tree_that_is_as_deep_as_can_be_is_read(read: Callable[[MemoryNodes, Link], object]) -> None:
    nodes = MemoryNodes(MANIFEST)
    read(nodes, made_up(nodes, *range(16)))


@pytest.mark.parametrize("read", READERS)
def test_a_tree_that_is_deeper_than_can_be_is_damage(read: Callable[[MemoryNodes, Link], object]) -> None:
    """Each node is made by hand: a thousand of them must not become a thousand calls."""
    nodes = MemoryNodes(MANIFEST)
    link = made_up(nodes, 0)
    for _ in range(5_000):
        link = nodes.save(1, [MANIFEST.row(LinkedNode(b"a", link))])
    with pytest.raises(DamagedError):
        read(nodes, link)
