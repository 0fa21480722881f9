"""Check an audit bundle with nothing but Python, 3.10 or newer, and `blake3` (pip install blake3).

    python verify.py [BUNDLE] [--file PATH VERSION LOCALFILE]...

BUNDLE is the zip file, or the folder that it was unpacked into; without one, the folder of this file.
Every digest is computed anew: of each member, of the records, of all nodes of the versions' trees, and of
the way from the newest entry of the log down to what it names. `--file` proves besides that a file on
this machine is the file PATH of VERSION (a name such as iris@v3, or the first digits of its id).

The exit code is 0 where everything holds, 1 where something does not, 2 where this was called wrongly.
What is proven is relative to the digest of the log's entry that is printed: compare it with one that you
trust, as the owner of the repository gives it.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import sys
import zlib
from itertools import pairwise
from typing import Any

try:
    from blake3 import blake3
except ImportError:  # pragma: no cover - seen by people alone
    sys.exit("this needs blake3: pip install blake3")

FORMAT = "dataver audit bundle 1"
INDEX, SEAL = "bundle.json", "SEAL"
MEMBERS_MAX, ZIP_BYTES_MAX = 65_535, (1 << 32) - 1
ZERO = bytes(32)
PROVEN = """\
proven: the log entries above name this run, this model and these versions, whose records and
trees are complete and unchanged. Compare the entries' digests with ones that you trust."""
STATE, TREE = "dataver 2026 v1 state identity", "dataver 2026 v1 identity node"


FAILURES = OSError, ValueError, LookupError, TypeError, AttributeError, struct.error, RecursionError
"""What bytes that are no bundle may lead to."""


class BundleError(Exception):
    """Something does not hold; the text says what."""


def need(holds: object, what: str) -> None:
    """Go on only if it holds."""
    if not holds:
        raise BundleError(what)


def there(value: Any, what: str) -> Any:
    """The value, if there is one."""
    need(value is not None, what)
    return value


def derived(kind: str, data: bytes) -> bytes:
    """The digest of a record of this kind."""
    return blake3(data, derive_key_context=kind).digest()


def check(kind: str, data: bytes, digest: str, what: str) -> None:
    """Go on only if a record has the digest that names it."""
    need(derived(f"dataver 2026 v1 {kind}", data).hex() == digest, f"{what} {digest} was changed")


def zip_bytes(members: dict[str, bytes]) -> bytes:
    """The one zip file with these members: by name, stored, all of one time. So no byte of it is free."""
    body, directory = bytearray(), bytearray()
    for name, data in sorted(members.items()):
        encoded = name.encode("ascii")
        # Version 2.0, no flags, stored, 1980-01-01 00:00.
        sizes = zlib.crc32(data), len(data), len(data), len(encoded)
        common = struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 33, *sizes, 0)
        head = struct.pack("<4sH", b"PK\1\2", 0x0314)
        place = struct.pack("<HHHII", 0, 0, 0, 0o100644 << 16, len(body))
        directory += head + common + place + encoded
        body += b"PK\3\4" + common + encoded + data
    count, start, size = len(members), len(body), len(directory)
    need(count <= MEMBERS_MAX and start + size <= ZIP_BYTES_MAX, "it is larger than a zip file of this form")
    return bytes(body + directory) + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, count, count, size, start, 0)


def unzip(data: bytes) -> dict[str, bytes]:
    """The members of a zip file that `zip_bytes` made, and of no other one."""
    need(len(data) >= 22, "it is no zip file")
    _, _, _, count, _, size, start, _ = struct.unpack("<4sHHHHIIH", data[-22:])
    members: dict[str, bytes] = {}
    at = start
    for _ in range(count):
        length, name_bytes, place = struct.unpack("<24xIH12xI", data[at : at + 46])
        name = data[at + 46 : at + 46 + name_bytes].decode("ascii")
        members[name] = data[place + 30 + name_bytes : place + 30 + name_bytes + length]
        at += 46 + name_bytes
    need(len(members) == count and at == start + size, "the directory of the zip file does not add up")
    need(zip_bytes(members) == data, "the zip file is not as it was written")
    return members


class Reader:
    """Takes values from bytes, from the front."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def raw(self, length: int) -> bytes:
        need(0 <= length <= len(self.data) - self.at, "an object ends before it is complete")
        self.at += length
        return self.data[self.at - length : self.at]

    def number(self, length: int) -> int:
        return int.from_bytes(self.raw(length), "little")

    def blob(self) -> bytes:
        return self.raw(self.number(4))

    def end(self) -> None:
        need(self.at == len(self.data), "an object has bytes behind its end")


Rows = list[dict[str, bytes]]


def read_node(data: bytes) -> tuple[int, Rows]:
    """The level and the rows of the identity bytes of a node, each row its columns by tag."""
    reader = Reader(data)
    need(reader.raw(4) == b"DVIT" and reader.number(1) == 1, "it is no node")
    level, columns, count = reader.number(1), reader.number(2), reader.number(4)
    need(count <= len(data), "a node announces more rows than it has")
    rows: Rows = [{} for _ in range(count)]
    for _ in range(columns):
        tag = reader.raw(4).decode("ascii")
        _, shape, width = reader.number(1), reader.number(1), reader.number(2)
        body = Reader(reader.blob())
        if shape == 0:
            keys(body, rows)
        elif shape == 1:
            for row in rows:
                row[tag] = body.raw(width)
        else:
            present = body.number(4)
            places = [body.number(4) for _ in range(present)]
            lengths = [body.number(4) for _ in range(present)]
            for place, length in zip(places, lengths, strict=True):
                rows[place][tag] = body.raw(length)
        body.end()
    reader.end()
    names = [row["key "] for row in rows]
    need(all(a < b for a, b in pairwise(names)), "the rows of a node are out of order")
    return level, rows


def keys(body: Reader, rows: Rows) -> None:
    """The keys, each given by what it shares with the one before and what follows."""
    shared = [body.number(2) for _ in rows]
    lengths = [body.number(2) for _ in rows]
    previous = b""
    for row, share, length in zip(rows, shared, lengths, strict=True):
        need(share <= len(previous), "a key shares more than the one before it has")
        previous = row["key "] = previous[:share] + body.raw(length)


def value(data: bytes) -> int:
    """A number of a row."""
    return int.from_bytes(data, "little")


def counts(rows: Rows) -> tuple[int, int]:
    """How many files rows of leaves are, and their bytes. Empty folders are none."""
    sizes = [value(row["size"]) for row in rows if row["kind"][0] & 15 != 2]
    return len(sizes), sum(sizes)


class Tree:
    """The nodes of a tree by their digests, which are computed here."""

    def __init__(self, kind: str, packed: bytes) -> None:
        self.nodes: dict[bytes, bytes] = {}
        self.read: dict[bytes, tuple[int, Rows]] = {}
        reader = Reader(packed)
        while reader.at < len(packed):
            data = reader.blob()
            self.nodes[derived(kind, data)] = data

    def node(self, digest: bytes, level: int | None = None) -> tuple[int, Rows]:
        need(digest in self.nodes, f"the node {digest.hex()} of a tree is missing, or was changed")
        if digest not in self.read:
            self.read[digest] = read_node(self.nodes[digest])
        need(level in (None, self.read[digest][0]), "a node is not on the level below its parent")
        return self.read[digest]

    def find(self, root: bytes, key: bytes, level: int | None = None) -> dict[str, bytes] | None:
        """The row of a key below a root; None where the nodes show that there is none."""
        own, rows = self.node(root, level)
        row = next((row for row in rows if row["key "] >= key), None)
        if row is not None and own:
            return self.find(row["idnt"], key, own - 1)
        return row if row is not None and row["key "] == key else None

    def leaves(self, root: bytes, level: int | None = None) -> Rows:
        """All rows of the leaves, in order."""
        own, rows = self.node(root, level)
        if not own:
            return rows
        found: Rows = []
        for row in rows:
            below = self.leaves(row["idnt"], own - 1)
            need(counts(below) == (value(row["file"]), value(row["byte"])), "a node counts other files")
            need(below[-1]["key "] == row["key "], "a node has another last key than its parent says")
            found += below
        return found


class Entry:
    """One entry of a log, whose digest is computed here.

    `root` is the identity of the state of the newest checkpoint before it, `steps` the operations since,
    its `own` the last of them.
    """

    def __init__(self, data: bytes, repository: bytes) -> None:
        self.digest = derived("dataver 2026 v1 log entry", data[:-32])
        need(self.digest == data[-32:], "an entry of the log was changed")
        reader = Reader(data[:-32])
        need(reader.raw(4) == b"DVLG" and reader.number(1) == 1, "it is no entry of a log")
        self.number = reader.number(8)
        reader.raw(32)
        need(reader.raw(16) == repository, "an entry of the log is of another repository")
        reader.raw(24)
        reader.blob()
        self.own = operations(reader)
        self.root = reader.raw(112)[32:64] if reader.number(1) else None
        self.steps = []
        for _ in range(reader.number(4)):
            reader.raw(16)
            self.steps += operations(reader)
        self.steps += self.own


class Log:
    """The newest entry of a repository's log, and the state after it."""

    def __init__(self, name: str, members: dict[str, bytes]) -> None:
        repository = bytes.fromhex(name)
        self.newest = Entry(members[f"logs/{name}/entry"], repository)
        first = Entry(members[f"logs/{name}/genesis"], repository)
        need(not first.number and first.own[0][0] == b"gene", f"the log of {name} has another beginning")
        self.changes = changes_of(self.newest.steps)
        self.state = Tree(STATE, members[f"logs/{name}/state"])

    def get(self, key: bytes) -> bytes | None:
        """What the state has under a key: by the operations since the last checkpoint, else by its tree."""
        if key in self.changes or self.newest.root is None:
            return self.changes.get(key)
        row = self.state.find(self.newest.root, key)
        return None if row is None else row.get("valu", b"")


def operations(reader: Reader) -> list[tuple[bytes, bytes]]:
    """Tags and bodies."""
    return [(reader.raw(4), reader.raw(1), reader.blob())[::2] for _ in range(reader.number(4))]


def changes_of(steps: list[tuple[bytes, bytes]]) -> dict[bytes, bytes | None]:
    """What operations change of that part of the state which a bundle speaks of.

    Of a version its manifest and counts, of a run its records, of a model its run and record; the names
    of datasets, and the numbers of versions.
    """
    changed: dict[bytes, bytes | None] = {}
    for tag, body in steps:
        reader = Reader(body)
        if tag == b"vers":
            key = reader.raw(16) + reader.raw(32)
            changed.setdefault(b"vers" + key, ZERO[:16] + reader.raw(64))
        elif tag in (b"brch", b"vnum"):
            dataset = reader.raw(16)
            if tag == b"brch":
                reader.blob()
                reader.raw(64)
            first = reader.number(8)
            for number in range(first, first + reader.number(4)):
                changed[b"numb" + dataset + number.to_bytes(8, "big")] = reader.raw(32)
        elif tag in (b"dset", b"dres"):
            dataset = reader.raw(16)
            changed[b"data" + reader.blob()] = dataset
        elif tag in (b"drnm", b"ddel"):
            dataset = reader.raw(16)
            changed[b"data" + reader.blob()] = None
            if tag == b"drnm":
                changed[b"data" + reader.blob()] = dataset
        elif tag == b"runs":
            changed[tag + body[:16]] = ZERO[:8] + body[16:48] + ZERO + b"\0"
        elif tag == b"rune":
            changed[tag + body[:16]] = body[16:49]
        elif tag == b"modl":
            name, number = reader.blob(), reader.number(8)
            changed[b"modl" + name + b"\0" + number.to_bytes(8, "big")] = reader.raw(48)
    return changed


class Bundle:
    """A bundle; making one checks all of it."""

    def __init__(self, members: dict[str, bytes]) -> None:
        self.members = members
        need(INDEX in members and SEAL in members, "it is no audit bundle")
        index = members[INDEX]
        need(members[SEAL] == blake3(index).hexdigest().encode() + b"\n", f"{INDEX} was changed")
        self.index: dict[str, Any] = json.loads(index)
        need(self.index["format"] == FORMAT, "it is a bundle of another release; use the script in it")
        self._members()
        self.logs = {name: Log(name, members) for name in self.index["logs"]}
        self.trees: dict[str, Tree] = {}
        self.records = {id: self._version(id, facts) for id, facts in self.index["versions"].items()}
        self._run()
        self._model()
        self._audit()

    def _members(self) -> None:
        listed = self.index["members"]
        need(set(self.members) == {*listed, INDEX, SEAL}, "members were added, or are missing")
        for name, (size, digest) in listed.items():
            data = self.members[name]
            need(len(data) == size and blake3(data).hexdigest() == digest, f"{name} was changed")

    def _version(self, id: str, facts: dict[str, Any]) -> bytes:
        """Check one version: its record, the log that names it, its files. Gives the digest of its tree."""
        record = self.members[f"versions/{id}"]
        check("version", record, id, "the record of version")
        tree = record[5:37]
        need(tree.hex() == facts["tree"], f"version {id} has other files than the bundle says")
        log, dataset = self.logs[facts["repository"]], bytes.fromhex(facts["dataset"])
        value = there(log.get(b"vers" + dataset + bytes.fromhex(id)), f"the log does not name version {id}")
        files, size = struct.unpack("<QQ", value[48:64])
        need((files, size) == (facts["files"], facts["bytes"]), f"the log counts other files of version {id}")
        if facts["name"] is not None:
            name, _, number = facts["name"].rpartition("@v")
            need(log.get(b"data" + name.encode()) == dataset, f"no dataset is called {name} in the log")
            key = b"numb" + dataset + int(number).to_bytes(8, "big")
            need(log.get(key) == bytes.fromhex(id), f"{facts['name']} is another version in the log")
        if facts["complete"]:
            self._files(id, tree, files, size)
        return tree

    def _files(self, id: str, tree: bytes, files: int, size: int) -> None:
        found = self.trees[id] = Tree(TREE, self.members[f"trees/{tree.hex()}"])
        need(counts(found.leaves(tree)) == (files, size), f"version {id} has other files than the log counts")
        need(set(found.nodes) == set(found.read), f"the tree of version {id} has nodes that are not of it")

    def _run(self) -> None:
        """The records of the run: named by the log, and of the versions that are here."""
        run = self.index["run"]
        log = self.logs[run["repository"]]
        id = bytes.fromhex(run["id"])
        began = there(log.get(b"runs" + id), f"the log does not name run {run['id']}")
        ended = log.changes.get(b"rune" + id) or began[40:73]
        need(began[8:40].hex() == run["start"], "the log names another record of the run's start")
        end = run["end"] or ZERO.hex()
        need(ended[:32].hex() == end, "the log names another record of the run's end")
        for digest in {run["start"], run["end"] or run["start"], *run["others"]}:
            self._record(digest, run["id"])
        self.run = read_run(self.members[f"runs/{run['end'] or run['start']}"])
        for given in self.run["inputs"]:
            version = given["version"]
            need(version in self.records, f"version {version}, which the run read, is not in the bundle")
            tree = self.records[version].hex()
            need(tree == given["tree"], f"the run read other files of version {version}")
            need(version in self.trees, f"the files of version {version} are not in the bundle")

    def _record(self, digest: str, id: str) -> None:
        data = self.members[f"runs/{digest}"]
        check("run", data, digest, "the record of a run")
        record = read_run(data)
        need(record["run"] == id, f"the record {digest} is of another run")
        parts = {part for given in record["inputs"] for part in given["reads"]}
        parts |= {(record["code"] or {}).get("patch"), (record["environment"] or {}).get("packages")}
        for part in parts - {None}:
            check("run part", self.members[f"parts/{part}"], part, "the part of a run's record")

    def _model(self) -> None:
        model = self.index["model"]
        if model is None:
            return
        log = self.logs[self.index["run"]["repository"]]
        key = b"modl" + model["name"].encode() + b"\0" + model["number"].to_bytes(8, "big")
        value = there(log.get(key), f"the log does not name model {model['name']}@v{model['number']}")
        need(value[:16].hex() == self.index["run"]["id"], "the log says that another run made the model")
        need(value[16:48].hex() == model["record"], "the log names another record of the model")
        trees = [made["tree"] for made in read_run(self.members[f"runs/{model['record']}"])["models"]]
        need(model["tree"] in trees, "the run's record does not have the files of the model")

    def _audit(self) -> None:
        """The report is of this run, this model and these versions."""
        report = json.loads(self.members["audit.json"])
        need(report["run"]["id"] == self.index["run"]["id"], "audit.json is of another run")
        data = [(given["id"], given["tree"]) for given in report["data"]]
        real = [(given["version"], given["tree"]) for given in self.run["inputs"]]
        need(data == real, "audit.json tells of other data than the run's record")
        told = {name: report[name] for name in ("code", "environment", "params", "metrics", "seeds")}
        told |= {name: report["run"][name] for name in ("name", "author", "status", "command")}
        odd = [name for name, value in told.items() if value != self.run[name]]
        need(not odd, f"audit.json and the run's record differ in {', '.join(odd)}")
        model = self.index["model"]
        need(model is None or report["model"]["tree"] == model["tree"], "audit.json is of another model")

    def file(self, path: str, version: str, local: str) -> str:
        """Prove that a file on this machine is one of a version; gives the digest."""
        names = {facts["name"]: id for id, facts in self.index["versions"].items() if facts["name"]}
        prefix = version if len(version) > 7 else "none"
        found = [id for id in self.trees if id == names.get(version) or id.startswith(prefix)]
        need(len(found) == 1, f"no single version with its files is called {version} in the bundle")
        row = there(
            self.trees[found[0]].find(self.records[found[0]], os.fsencode(path)),
            f"{version} has no file {path!r}",
        )
        hasher, size = blake3(), 0
        with open(local, "rb") as file:
            while block := file.read(1 << 22):
                hasher.update(block)
                size += len(block)
        digest = hasher.digest()
        same = digest == row["dgst"] and size == value(row["size"])
        need(same, f"{local} is not the file {path!r} of {version}: it is {digest.hex()}")
        return str(digest.hex())


def read_run(data: bytes) -> dict[str, Any]:
    """The record of a run, whose digest was compared."""
    need(data[:5] == b"DVRN\1", "it is no record of a run")
    return dict(json.loads(data[5:]))


def read_members(place: str) -> dict[str, bytes]:
    """The members of a bundle: a zip file, or a folder that one was unpacked into."""
    if not os.path.isdir(place):
        with open(place, "rb") as file:
            return unzip(file.read())
    members = {}
    with open(os.path.join(place, INDEX), "rb") as file:
        members[INDEX] = file.read()
    for name in [SEAL, *json.loads(members[INDEX])["members"]]:
        need(".." not in name.split("/") and not os.path.isabs(name), "a member has an odd name")
        with open(os.path.join(place, *name.split("/")), "rb") as file:
            members[name] = file.read()
    return members


def report(bundle: Bundle) -> list[str]:
    """What is proven, in words."""
    index = bundle.index
    lines = []
    for name, log in bundle.logs.items():
        lines.append(f"log      repository {name}, entry {log.newest.number}: {log.newest.digest.hex()}")
    model, run = index["model"], index["run"]
    if model is not None:
        lines.append(f"model    {model['name']}@v{model['number']}, files {model['tree']}")
    lines.append(f"run      {run['id']}, record {run['end'] or run['start']}")
    for given in bundle.run["inputs"]:
        facts = index["versions"][given["version"]]
        name = facts["name"] or given["dataset"]
        counts = f"{facts['files']} files, {facts['bytes']} bytes, tree {facts['tree']}"
        lines.append(f"data     {given['role']}: {name} {given['version']}, {counts}")
    others = len(index["versions"]) - len({given["version"] for given in bundle.run["inputs"]})
    lines.append(f"history  {others} more versions that these came from")
    return [*lines, PROVEN]


def main(arguments: list[str]) -> int:
    """Check, and say what came of it."""
    form, three = argparse.RawDescriptionHelpFormatter, ("PATH", "VERSION", "LOCALFILE")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("bundle", nargs="?", default=os.path.dirname(os.path.abspath(__file__)))
    parser.add_argument("--file", nargs=3, action="append", default=[], metavar=three)
    options = parser.parse_args(arguments)
    try:
        bundle = Bundle(read_members(options.bundle))
        lines = report(bundle)
        for path, version, local in options.file:
            lines.append(f"file     {local} is {path!r} of {version}: {bundle.file(path, version, local)}")
    except BundleError as error:
        sys.stdout.write(f"FAILED: {error}\n")
        return 1
    except FAILURES as error:
        sys.stdout.write(f"FAILED: the bundle cannot be read: {type(error).__name__}: {error}\n")
        return 1
    sys.stdout.write("\n".join([*lines, "OK\n"]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
