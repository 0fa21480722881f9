"""Secrets and hostile texts: no export has the first, and each takes the second as text."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rfc3987_syntax import is_valid_syntax

from dataver.exports.facts import iri
from dataver.format.run_record import Code, Environment, LockedBy, Process, RunInput, Tracker
from tests import runs
from tests.standards.data import World, program
from tests.standards.ol import check
from tests.standards.test_cyclonedx import valid
from tests.standards.test_prov import read

EXPORTS = (
    ("croissant",), ("cyclonedx",), ("openlineage",), ("prov",), ("prov", "--format", "provn"),
    ("prov", "--format", "xml"),
)  # fmt: skip
EVIL = "a\"b'\\c\n<d>&amp;]]>\x1b[31m\u202e\ttab \u00a0\x7f \U0001f338 %% {x} ${y} -->"


def canary(name: str) -> str:
    """A text that is found nowhere else."""
    return f"cAnArY{name}7x9q"


SCRIPT = f"""
import dataver, os
params = {{
    "lr": 0.1, "password": "{canary("param")}", "url": "https://host/c?sv=1&sig={canary("sig")}&se=2",
    "deep": {{"token": "{canary("deep")}"}}, "from_environment": os.environ["SERVICE_API_KEY"],
    "connection": "DefaultEndpointsProtocol=https;AccountName=a;AccountKey={canary("account")}==;X=x",
}}
with dataver.run("train", params=params) as run:
    dataver.resolve("secrets").read("a.csv")
    run.add_tracker("mlflow", "1", uri="https://user:{canary("tracker")}@host/api?token={canary("trackertoken")}")
    open("model.bin", "w").write("model")
    meta = {{"auth_token": "{canary("meta")}"}}
    run.log_model("leaky", "model.bin", uri="s3://k:{canary("modeluri")}@b/m", meta=meta)
    dataver.open().commit("made", "model.bin", message="by password={canary("made")}")
raise SystemExit(0)
"""
CARD = f"""\
+++
licence = "MIT"
owner = "ask with token={canary("owner")}"
collection = "from https://me:{canary("card")}@host/x?sig={canary("cardsig")}"
known_limits = "AccountKey={canary("limits")}=="
homepage = "https://me:{canary("homepage")}@host/"
keywords = ["api_key={canary("keyword")}"]
citation = "Bearer {canary("citation")}"
+++

Log in with password={canary("text")}.
"""


def test_no_secret_is_exported_or_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = world.folder / "secrets"
    folder.mkdir()
    (folder / "a.csv").write_text("x\n1\n")
    (folder / "README.md").write_text(CARD)
    sources = [{"url": "https://host/raw", "note": f"fetched with password={canary('note')}"}]
    world.repository.commit("secrets", folder, message=f"DB_PASSWORD={canary('message')}", sources=sources)
    (world.folder / "script.py").write_text(SCRIPT)
    (world.folder / "train.py").write_text(f'password = "{canary("patch")}"\n')
    environment = os.environ | {
        "SERVICE_API_KEY": canary("variable"), "DATAVER_OPENLINEAGE": "events.ndjson",
        "OPENLINEAGE_API_KEY": canary("key"), "PYTHONPATH": str(Path(__file__).parents[2]),
    }  # fmt: skip
    command = [
        sys.executable,
        "script.py",
        "--password",
        canary("argument"),
        f"--api-token={canary('assigned')}",
    ]
    subprocess.run(command, env=environment, check=True, timeout=120)
    documents = {"events": Path("events.ndjson").read_text()}
    assert len(documents["events"].splitlines()) == 3
    for subject in ("secrets", "model:leaky@v1", "made"):
        for verb, *options in EXPORTS:
            if verb != "croissant" or ":" not in subject:
                documents[f"{subject} {verb} {options}"] = program("export", verb, subject, *options)
    assert any("lr" in document for document in documents.values())
    for name, document in documents.items():
        assert "cAnArY" not in document, (name, document[max(0, document.find("cAnArY") - 200) :][:300])


def test_hostile_texts_are_texts(world: World) -> None:
    repository, folder = world.repository, world.folder / "evil"
    folder.mkdir()
    (folder / "a\n\x1b\u202e'\"b.csv").write_text("x\n")
    fields = ("licence", "owner", "sensitivity", "collection", "citation", "homepage", "personal_data")
    front = "".join(f"{name} = {json.dumps(EVIL)}\n" for name in fields)
    (folder / "DATASET.md").write_text(f"+++\n{front}+++\n\n{EVIL}\n")
    sources = [{"url": "https://host/a b<c>", "method": EVIL, "note": EVIL, "licence": EVIL}, {"note": "x"}]
    repository.commit("evil", folder, message=EVIL, author="E'v\"il & <x>", sources=sources, meta={"a": EVIL})
    read_in_part = runs.read(repository, "evil", EVIL, url=EVIL, split={"part": EVIL, "name": EVIL})
    abroad = RunInput(EVIL, EVIL, EVIL, "0" * 64, "1" * 64, "2" * 32, EVIL, 7)
    model = runs.model("evil", {EVIL: b"1"}, uri=EVIL, meta={EVIL: EVIL})
    record = runs.record(
        repository, [read_in_part], [model], ["evil"],
        status="failed", name=EVIL, author='E<x>&"', reason=EVIL, command=(EVIL, EVIL),
        process=Process(EVIL, EVIL, EVIL, 1, EVIL),
        code=Code(EVIL, EVIL, EVIL, dirty=True, folder=EVIL, untracked=(EVIL,), reason=EVIL),
        environment=Environment(
            EVIL, EVIL, EVIL, locks=(LockedBy(EVIL, "0" * 64),),
            variables={EVIL: EVIL}, hardware={EVIL: EVIL}, dataver=EVIL,
        ),
        params={EVIL: EVIL}, metrics={EVIL: EVIL}, seeds={EVIL: EVIL},
        trackers=(Tracker(EVIL, EVIL, EVIL, EVIL),), options={EVIL: EVIL},
    )  # fmt: skip
    far = runs.record(repository, [abroad])
    for subject in ("evil", "model:evil@v1"):
        valid(program("export", "cyclonedx", subject))
        forms = [
            read(program("export", "prov", subject, "--format", kind), kind)
            for kind in ("json", "provn", "xml")
        ]
        assert forms[0] == forms[1] == forms[2]
    for subject in ("evil", f"run:{record.run}", f"run:{far.run}"):
        for line in program("export", "openlineage", subject).splitlines():
            check(json.loads(line))
    program("checkout", "evil", "out")
    program("export", "croissant", "evil", "-o", "out/croissant.json")
    import mlcroissant

    issues = mlcroissant.Dataset("out/croissant.json").metadata.ctx.issues
    assert not set(issues.errors)


@given(st.one_of(st.text(), st.from_regex(r"[a-z]{1,5}:(//)?[ -~]{0,30}", fullmatch=True)))
def test_an_iri_is_one(text: str) -> None:
    found = iri(text)
    assert not found or is_valid_syntax("iri", found)


@pytest.mark.parametrize(
    "url",
    [
        "https://data.example.org/raw.zip", "s3://bucket/key", "dataver://iris@0f", "az://c/p q",
        "ssh://git@host/me/repo.git", "urn:a:b", "http://127.0.0.1:5000/a?b=c&d=%20#e", "file:///a/b",
        "abfss://c@account.dfs.core.windows.net/p",
    ],
)  # fmt: skip
def test_urls_are_iris(url: str) -> None:
    assert iri(url) == url.replace(" ", "%20")


def test_what_is_erased_or_absent_is_told(world: World) -> None:
    world.repository.erase("iris@v1", "notes.txt", reason="asked", yes=True)
    assert "erased" in program("export", "croissant", "iris@v1", code=3)
    valid(program("export", "cyclonedx", "iris@v1"))
