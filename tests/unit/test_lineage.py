"""Lineage: the graph up and down, whatever is missing of it, and its pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dataver
from dataver.digest import Digest
from dataver.errors import BadInputError, PathNotFoundError, RefNotFoundError
from dataver.format.operations import BranchSet, IndexAdd, VersionAdd
from dataver.format.provenance import DerivedFrom, Provenance, Source
from dataver.format.version import VersionRecord
from dataver.lineage import drawing, nodes
from dataver.lineage.graph import Lineage, lineage
from dataver.lineage.graph_page import page
from dataver.lineage.graph_text import tree
from dataver.lineage.layout import lay_out
from dataver.lineage.nodes import ExternalNode, external_node
from dataver.lineage.origins import derived_from, sources
from dataver.packs import RecordWriter
from dataver.repository import Repository
from dataver.segments import write_segment
from tests import runs
from tests.repositories import memory_repository

ID, TREE, OTHER = "ab" * 32, "cd" * 32, "ef" * 16


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """raw@v1 -> iris@v1 -> iris@v2 -> churn@v1, by two runs."""
    made = memory_repository()
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a.csv").write_text("a\n1\n")
    made.commit("raw", folder, message="raw")
    made.commit("iris", folder, message="first")
    (folder / "b.csv").write_text("a\n2\n")
    made.commit("iris", folder, message="second")
    return made


def edges(found: Lineage) -> set[tuple[str, str, str]]:
    return {(edge.source, edge.target, edge.kind) for edge in found.edges}


def test_up_and_down_from_every_kind_of_node(repository: Repository) -> None:
    clean = runs.record(repository, [runs.read(repository, "raw@v1", "source")], outputs=["iris@v1"])
    part = runs.read(repository, "iris@v2:train", split={"part": "train", "digest": TREE})
    train = runs.record(repository, [part], [runs.model("churn", {"m.bin": b"1"})], parent=clean.run)
    run, cleaning, session = f"run:{train.run}", f"run:{clean.run}", repository.session
    up = edges(lineage(session, "model:churn", down=False))
    assert up == {
        (run, "model:churn@v1", "made"),
        ("iris@v2:train", run, "read"),
        (cleaning, run, "started"),
        ("iris@v2", "iris@v2:train", "part"),
        ("iris@v1", "iris@v2", "parent"),
        (cleaning, "iris@v1", "made"),
        ("raw@v1", cleaning, "read"),
    }
    down = lineage(session, "raw@v1", up=False)
    assert edges(down) == up - {(cleaning, run, "started")}
    assert down.complete
    both = lineage(session, run)
    assert edges(both) == up
    assert edges(lineage(session, "iris@v2:train", up=False)) == {
        ("iris@v2:train", run, "read"),
        (run, "model:churn@v1", "made"),
    }
    assert edges(lineage(session, "iris@v2:other", up=False)) == set()
    near = lineage(session, "model:churn@v1", depth=1)
    assert edges(near) == {(run, "model:churn@v1", "made")}
    assert not near.complete
    assert not lineage(session, "model:churn", nodes_max=2).complete
    assert len(lineage(session, "model:churn", nodes_max=2).nodes) == 2


def test_a_file_is_in_versions_and_came_with_the_first_of_them(repository: Repository) -> None:
    found = lineage(repository.session, "file:iris@v2!a.csv")
    assert edges(found) == {
        ("file:iris@v2!a.csv", "raw@v1", "in"),
        ("file:iris@v2!a.csv", "iris@v1", "in"),
        ("file:iris@v2!a.csv", "iris@v2", "in"),
        ("iris@v1", "iris@v2", "parent"),
        ("iris@v1", "file:iris@v2!a.csv", "brought"),
    }
    assert found.nodes["file:iris@v2!a.csv"]["size"] == 4


def test_what_is_not_here_is_shown_as_such(repository: Repository, tmp_path: Path) -> None:
    far = replace(runs.read(repository, "iris@v1"), repository=OTHER, version=ID, dataset="far", number=7)
    gone = replace(runs.read(repository, "iris@v1"), version=TREE, dataset="gone")
    run = runs.record(repository, [far, gone, runs.read(repository, "raw")], parent="12" * 16)
    repository.delete_dataset("raw")
    found = lineage(repository.session, f"run:{run.run}")
    states = {id: facts.get("state") for id, facts in found.nodes.items()}
    raw = next(id for id in states if id.startswith("raw@"))
    assert states[f"far@{ID}"] == "elsewhere"
    assert states[f"gone@{TREE}"] == "missing"
    assert states[raw] == "deleted"
    assert states[f"run:{'12' * 16}"] == "missing"
    assert len(states) == 5
    copy = dataver.init(str(tmp_path / "copy"))
    copy.pull(["iris"], source=repository, depth=1)
    assert {facts["state"] for facts in lineage(copy.session, "iris@v2").nodes.values()} == {"here", "absent"}


def test_a_run_that_made_what_it_read_is_a_circle_that_ends(repository: Repository) -> None:
    run = runs.record(repository, [runs.read(repository, "iris@v2")], outputs=["iris@v2"])
    found = lineage(repository.session, "iris@v2")
    assert {("iris@v2", f"run:{run.run}", "read"), (f"run:{run.run}", "iris@v2", "made")} <= edges(found)
    lines = list(tree(found, up=True))
    assert any(line.again for line in lines)
    assert drawing.svg(found).count('class="edge"') == len(edges(found))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("nothing", RefNotFoundError),
        ("model:none@v1", RefNotFoundError),
        ("run:0000", RefNotFoundError),
        ("run:", BadInputError),
        ("file:iris@v1", BadInputError),
        ("file:iris@v1!", BadInputError),
        ("file:iris@v1!none.csv", PathNotFoundError),
        ("iris@v1:", BadInputError),
        ("elsewhere:/churn/1", RefNotFoundError),
        ("models:churn:1", RefNotFoundError),
        ("", BadInputError),
    ],
)
def test_what_names_no_node(repository: Repository, text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        lineage(repository.session, text)


def test_a_depth_below_nothing_is_refused(repository: Repository) -> None:
    with pytest.raises(BadInputError):
        lineage(repository.session, "iris", depth=-1)


def test_integrations_name_nodes(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataver.format.run_record import Tracker

    run = runs.record(
        repository, [runs.read(repository, "iris")], trackers=(Tracker("toy", "7"),), models=[runs.model("m")]
    )
    install(
        tmp_path,
        monkeypatch,
        "from dataver.lineage.nodes import ExternalNode\n"
        "def resolve(text):\n"
        "    return ExternalNode(text, tracked=('toy:7',)) if text.startswith('toys:/') else None\n",
    )
    found = lineage(repository.session, "toys:/7")
    assert (f"run:{run.run}", "toys:/7", "same") in edges(found)
    assert ("toys:/7", f"run:{run.run}", "same") in edges(found)
    assert "model:m@v1" in found.nodes
    assert external_node("toys:/7") == ExternalNode("toys:/7", tracked=("toy:7",))
    assert external_node("else:/7") is None
    with pytest.raises(RefNotFoundError):
        lineage(repository.session, "else:/7")


def test_an_integration_that_cannot_be_loaded_is_named(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, "import no_such_library_at_all\n")
    assert lineage(repository.session, "iris@v1").nodes
    with pytest.raises(BadInputError, match="toy"):
        lineage(repository.session, "toys:/7")


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """A distribution with one resolver, as pip would install it."""
    site = folder / "site"
    (site / "toy-1.dist-info").mkdir(parents=True)
    (site / "toy-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1\n")
    points = f"[{nodes.RESOLVERS}]\ntoy = {folder.name.replace('-', '_')}_toy:resolve\n"
    (site / "toy-1.dist-info" / "entry_points.txt").write_text(points)
    (site / f"{folder.name.replace('-', '_')}_toy.py").write_text(code)
    monkeypatch.syspath_prepend(site)


def test_what_a_version_says_of_its_sources() -> None:
    def with_body(body: bytes) -> VersionRecord:
        return VersionRecord(Digest(bytes(32)), (), 0, "", "", extensions=((b"srcs", 0, body),))

    said = Provenance(
        (Source("https://x/a", "CC0"), Source(note="by hand")), (DerivedFrom("raw", ID, TREE, OTHER),)
    )
    record = with_body(said.encode())
    assert list(sources(record)) == [
        {"url": "https://x/a", "licence": "CC0"},
        {"url": "by hand", "note": "by hand"},
    ]
    assert [(found.dataset, found.version.hex()) for found in derived_from(record)] == [("raw", ID)]
    for body in (b"{", b"[]", b'{"sources": 3}', b"[" * 100_000):
        assert list(sources(with_body(body))) == []
    assert list(sources(replace(record, extensions=()))) == []


def test_sources_and_what_data_were_derived_from_are_in_the_graph(repository: Repository) -> None:
    raw = repository.version("raw@v1")
    said = Provenance(
        (Source("https://example.org/a", "CC0"),),
        (DerivedFrom("raw", raw.id, raw.tree, repository.id), DerivedFrom("far", ID, TREE, OTHER)),
    )
    publish_with(repository, "iris", said.encode())
    found = lineage(repository.session, "iris@v3", down=False)
    assert {
        ("source:https://example.org/a", "iris@v3", "source"),
        ("raw@v1", "iris@v3", "derived"),
        (f"far@{ID}", "iris@v3", "derived"),
        ("iris@v2", "iris@v3", "parent"),
    } <= edges(found)
    assert found.nodes["source:https://example.org/a"]["licence"] == "CC0"
    assert found.nodes[f"far@{ID}"]["state"] == "elsewhere"
    down = edges(lineage(repository.session, "raw@v1", up=False))
    assert ("raw@v1", "iris@v3", "derived") in down
    assert "CC0" in page(found)


def publish_with(repository: Repository, dataset: str, body: bytes) -> None:
    """A version like the head of a dataset, whose record says where its data came from."""
    session = repository.session
    state = session.newest()
    head = session.resolve(dataset, state)
    before = session.record(head.version.id, state)
    record = replace(before, parents=(head.version.id,), extensions=((b"srcs", 0, body),))
    writer = RecordWriter(session.store)
    writer.add(record.id(), record.encode())
    segment = write_segment(session.store, writer.close())
    version, old = record.id(), head.version
    operations = (
        VersionAdd(head.dataset, version, old.manifest, old.files, old.size_bytes, 0, 0),
        BranchSet(head.dataset, "main", old.id, version, old.number + 1, (version,)),
        IndexAdd(segment.name, segment.keys, segment.size_bytes),
    )
    session.log.append(lambda _: operations, session.who("test"))


# Pictures


HOSTILE = '<script>alert("&")</script>\n\x1b[31m\u202e]"--> ;'


@pytest.fixture
def hostile(repository: Repository) -> Lineage:
    """A lineage with names that somebody chose badly."""
    given = replace(runs.read(repository, "iris"), role=HOSTILE, split={"part": HOSTILE})
    runs.record(repository, [given], [runs.model("m")], name=HOSTILE)
    repository.commit("iris", Path(__file__), message=HOSTILE)
    return lineage(repository.session, "iris")


def test_the_page_has_no_sign_of_theirs(hostile: Lineage, repository: Repository) -> None:
    found = lineage(repository.session, "model:m")
    for text in (page(found), page(hostile)):
        assert "<script" not in text
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "http-equiv" in text
    picture = ElementTree.fromstring(drawing.svg(found))
    assert len(picture.findall(".//{*}rect[@class='box']")) == len(found.nodes)


@pytest.mark.parametrize("language", [drawing.dot, drawing.mermaid])
def test_languages_of_graphs_are_escaped(
    repository: Repository, hostile: Lineage, language: Callable[[Lineage], Iterator[str]]
) -> None:
    found = lineage(repository.session, "model:m")
    lines = list(language(found))
    assert len(lines) == len(found.nodes) + len(found.edges) + (3 if language is drawing.dot else 1)
    assert all(line.isprintable() for line in lines)
    if language is drawing.mermaid:
        assert not any("<script" in line for line in lines)
    else:
        assert '\\"&\\"' in "".join(lines)


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=40))
def test_every_node_has_a_place_of_its_own(pairs: list[tuple[int, int]]) -> None:
    names = [str(number) for number in range(13)]
    found = lay_out(names, [(str(a), str(b)) for a, b in pairs])
    assert set(found.places) == set(names)
    assert len(set(found.places.values())) == len(names)
    rows: dict[int, list[float]] = {}
    for layer, row in found.places.values():
        rows.setdefault(layer, []).append(row)
    for places in rows.values():
        places.sort()
        assert all(b - a >= 0.99 for a, b in pairwise(places))
    for (source, target), route in found.routes.items():
        assert (route[0], route[-1]) == (found.places[source], found.places[target])


def test_without_a_circle_all_edges_lead_right() -> None:
    found = lay_out(["d", "a", "b", "c"], [("a", "b"), ("b", "c"), ("a", "c"), ("c", "d"), ("a", "a")])
    assert {name: found.places[name][0] for name in "abcd"} == {"a": 0, "b": 1, "c": 2, "d": 3}
    assert len(found.routes["a", "c"]) == 3
    assert lay_out([], []).places == {}


def test_a_long_history_is_no_deep_tree(tmp_path: Path) -> None:
    repository = memory_repository()
    file = tmp_path / "a.csv"
    for number in range(30):
        file.write_text(str(number))
        repository.commit("a", file)
    lines = list(tree(lineage(repository.session, "a", down=False), up=True))
    assert [line.depth for line in lines] == [0] * 29
    assert [line.title for line in lines] == [f"a@v{number}" for number in range(29, 0, -1)]
