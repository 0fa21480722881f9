"""What a new version was derived from: the versions that a caller names, in this repository or another."""

from __future__ import annotations

from collections.abc import Sequence

from dataver.errors import BadInputError
from dataver.format.provenance import DerivedFrom, Provenance
from dataver.provenance import SourceLike, make_provenance
from dataver.repository import Repository, open_repository
from dataver.store.cached import is_offline
from dataver.version import Version


def made_from(
    repository: Repository,
    sources: Sequence[SourceLike],
    derived_from: Sequence[str | Version],
    partial: bool,
) -> Provenance | None:
    """What the record of a new version of `repository` is to say of its data. See `Repository.commit`."""
    if isinstance(derived_from, str | Version):
        raise BadInputError("the versions that data were derived from are one; pass a list of them")
    return make_provenance(sources, [derived(repository, entry) for entry in derived_from], partial=partial)


def derived(repository: Repository, given: str | Version) -> DerivedFrom:
    """The version that `REF`, or `URL#REF` in another repository, means now. `RefNotFoundError` for none."""
    if isinstance(given, str):
        url, other, ref = given.rpartition("#")
        offline = is_offline(repository.session.store)
        place = open_repository(url, offline=offline) if other else repository
        given = place.version(ref)
    return DerivedFrom(given.dataset_name, given.id, given.tree, given.repository.id)
