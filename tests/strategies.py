"""What hypothesis makes folders of: odd names, sizes around every boundary, edits of every kind."""

from __future__ import annotations

from hypothesis import strategies as st

from dataver.chunking import ChunkerParameters
from dataver.packs import FRAME_BYTES_TARGET
from tests.worlds import EMPTY, FILE, LINK, Thing, World, noise, put, take, text

SMALL_CHUNKS = ChunkerParameters(min_bytes=64, average_bytes=256, max_bytes=1024)
DEFAULT = ChunkerParameters()

# Names that sort around the separator, look like options, patterns, other systems' paths or nothing.
ODD_NAMES = [
    *(b"a", b"a.", b"a-", b"a/b", b"a0", b"a.b", b"A", b"-rf", b"--", b"...", b".hidden", b" ", b" a "),
    *(b"new\nline", b"tab\t", b"a\r", b'"quoted"', b"'", b"*", b"?", b"[a]", b"back\\slash", b"c:", b"con"),
    *(b"~", b"$HOME", b"#", b"@v1", b"!", b"%2F", b"a b", b"x" * 255, b"\x7f", b"\x01"),
    *(b"log", b"packs", b"dataver", b".gitignore", b".dataverignores", b"dir/.dataver-part"),
    *(name.encode() for name in ("\u00e9", "e\u0301", "\u2603/\u96ea", "\uffff", "\U0010ffff", "\u202e")),
]

BOUNDARIES = [
    0,
    1,
    64,
    256,
    1024,
    DEFAULT.min_bytes,
    DEFAULT.average_bytes,
    FRAME_BYTES_TARGET,
    DEFAULT.max_bytes,
]
SIZES = sorted({max(0, size + step) for size in BOUNDARIES for step in (-1, 0, 1)})


def is_allowed(name: bytes) -> bool:
    """Names that mean something to the engine are tested elsewhere."""
    return name not in (b".", b"..", b".dataver", b".dataverignore") and not name.startswith(
        b".dataver-part-"
    )


letters = st.characters(exclude_categories=["Cs"], exclude_characters="/\0")
names = st.one_of(
    st.sampled_from([name for name in ODD_NAMES if b"/" not in name]),
    st.text(letters, min_size=1, max_size=20).map(str.encode),
).filter(is_allowed)
paths = st.one_of(st.sampled_from(ODD_NAMES), st.lists(names, min_size=1, max_size=4).map(b"/".join))
contents = st.one_of(
    st.sampled_from([b"", b"\0", b"same", b"PAR1", b"PAR1" + bytes(8) + b"PAR1"]),
    st.binary(max_size=300),
    st.builds(noise, st.integers(0, 2), st.sampled_from(SIZES)),
    st.builds(text, st.integers(0, 2), st.sampled_from(SIZES)),
    st.builds(bytes, st.sampled_from(SIZES)),
)
files = st.builds(Thing, st.just(FILE), contents, st.booleans())
links = st.one_of(
    st.builds(Thing, st.just(LINK), paths.filter(lambda path: len(path) < 1000), st.just(False)),
    st.sampled_from([Thing(LINK, b"/nowhere/at/all"), Thing(LINK, b"../.."), Thing(LINK, b".")]),
)
things = st.one_of(files, files, links, st.just(EMPTY))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """A folder of a few things at odd places."""
    world: World = {}
    for path, thing in draw(st.lists(st.tuples(paths, things), max_size=12)):
        put(world, path, thing)
    return world


@st.composite
def edited(draw: st.DrawFn, old: World) -> World:
    """`old` after a few edits of every kind."""
    world = dict(old)
    for _ in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(["put", "take", "rename", "bytes", "mode", "replace"]))
        if kind == "put" or not world:
            put(world, draw(paths), draw(things))
            continue
        path = draw(st.sampled_from(sorted(world)))
        thing = world[path]
        if kind == "take":
            take(world, path)
        elif kind == "rename":
            take(world, path)
            put(world, draw(paths), thing)
        elif kind == "replace":
            put(world, path, draw(things))
        elif kind == "mode" and thing.kind == FILE:
            world[path] = thing._replace(executable=not thing.executable)
        elif kind == "bytes" and thing.kind == FILE:
            world[path] = thing._replace(data=draw(changed(thing.data)))
    return world


@st.composite
def changed(draw: st.DrawFn, data: bytes) -> bytes:
    """Bytes inserted, removed, overwritten or appended."""
    start = draw(st.integers(0, len(data)))
    length = draw(st.sampled_from([0, 1, 14, 4096]))
    new = draw(st.binary(min_size=1, max_size=20))
    match draw(st.sampled_from(["insert", "delete", "overwrite", "append", "same size"])):
        case "insert":
            return data[:start] + new + data[start:]
        case "delete":
            return data[:start] + data[start + length :]
        case "overwrite":
            return data[:start] + new + data[start + len(new) :]
        case "same size":
            return data[:start] + bytes(b ^ 1 for b in data[start : start + 1]) + data[start + 1 :]
        case _:
            return data + new
