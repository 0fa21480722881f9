"""Versions: their records, and what the log says of them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor

from dataver.digest import Digest
from dataver.errors import DamagedError, NewerFormatError
from dataver.format.provenance import provenance_of
from dataver.format.version import VersionRecord, decode_version
from dataver.hashing import Kind
from dataver.keys import entry_key
from dataver.log.state import NUMBER, State, VersionState
from dataver.results import Harm
from dataver.values import NamedTuple
from dataver.verify.findings import Findings, plain
from dataver.verify.manifests import Manifests
from dataver.verify.metadata import Culprits, Metadata
from dataver.verify.workers import in_order

RECORDS_IN_FLIGHT = 64


class NamedVersion(NamedTuple):
    """A version of a dataset, which may be a deleted one."""

    dataset: str
    state: VersionState
    dataset_id: bytes

    def harm(self, path: bytes | None = None) -> Harm:
        """Harm done to all of the version, or to one path of it."""
        number = self.state.number
        text = None if path is None else path.decode("utf-8", "backslashreplace")
        return Harm(self.dataset, f"v{number}" if number else str(self.state.id), text)


def all_versions(state: State, findings: Findings) -> list[NamedVersion]:
    """The versions of every dataset, deleted ones too; a name of one that is not there is damage.

    Not a name that is deleted, or whose dataset is: what it led to may have been collected.
    """
    named_datasets = [(dataset, name) for name, dataset in state.datasets()]
    deleted = dict(state.deleted_datasets())
    found: list[NamedVersion] = []
    for dataset, name in (*named_datasets, *deleted.items()):
        versions = {version.id: version for version in state.versions(dataset)}
        found.extend(NamedVersion(name, version, dataset) for version in versions.values())
        if dataset in deleted:
            continue
        named = {ref.target: ref.name for ref in state.refs(dataset) if not ref.deleted}
        for key, target in state.items(NUMBER + dataset):
            named[Digest(target)] = f"v{int.from_bytes(key[-8:], 'big')}"
        for target, selector in named.items():
            if target not in versions and not state.is_absent(dataset, target):
                reason = f"{name}@{selector} names version {target}, which the log does not have"
                findings.add(entry_key(state.number), reason, Harm(name, None, None))
    return found


def check_versions(
    state: State,
    versions: Sequence[NamedVersion],
    manifests: Manifests,
    metadata: Metadata,
    findings: Findings,
    pool: Executor,
) -> None:
    """Check records and manifests, and charge each damaged object with what it harms.

    `state` is where their parents must be, but for those that it says are left out on purpose.
    """
    manifests.walk((version.state.manifest for version in versions), pool)

    def check(version: NamedVersion) -> tuple[Culprits, Sequence[Digest]]:
        return _check_record(version, manifests, metadata)

    checked = in_order(pool, check, versions, RECORDS_IN_FLIGHT)
    for version, (culprits, parents) in zip(versions, checked, strict=True):
        for culprit in culprits:
            findings.add_harm(culprit, version.harm())
        for parent in parents:
            dataset = version.dataset_id
            if state.version(dataset, parent) is None and not state.is_absent(dataset, parent):
                reason = f"version {version.state.id} descends from {parent}, which the log does not have"
                findings.add(entry_key(state.number), reason, version.harm())
        for path, culprit in manifests.harmed(version.state.manifest):
            findings.add_harm(culprit, version.harm(path))


def _check_record(
    version: NamedVersion, manifests: Manifests, metadata: Metadata
) -> tuple[Culprits, Sequence[Digest]]:
    """Who damages a version's record, and the version's parents."""
    state = version.state
    data, culprits = metadata.record(Kind.VERSION, state.id)
    if culprits:
        return culprits, ()
    try:
        record = decode_version(data, f"version {state.id}")
        provenance_of(record.extensions, f"version {state.id}")
    except (DamagedError, NewerFormatError) as error:
        return (metadata.fault(state.id, plain(error)),), ()
    return _check_root(version, record, manifests, metadata), record.parents


def _check_root(
    version: NamedVersion, record: VersionRecord, manifests: Manifests, metadata: Metadata
) -> Culprits:
    state = version.state
    root = manifests.root(state.manifest)
    if root is None:
        return ()
    if root.identity != record.tree:
        return (metadata.fault(state.id, f"version {state.id} has another tree than its manifest"),)
    if (root.rows, root.size_bytes) != (state.files, state.size_bytes):
        return (
            metadata.fault(state.id, f"version {state.id} has not the files and bytes that the log says"),
        )
    return ()
