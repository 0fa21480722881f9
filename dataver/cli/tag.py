"""`dataver tag`: name a version for ever."""

from __future__ import annotations

from dataver.cli import names
from dataver.cli.options import verb
from dataver.cli.session import Session


@verb(
    "tag",
    "dataver tag iris@v3 paper",
    "dataver tag iris",
    "dataver tag iris paper --delete",
    reads=True,
    document=names.DOCUMENT,
)
@names.name_parameters("tag")
def command(session: Session, ref: str, name: str | None, delete: bool) -> None:
    """Tag the version REF as NAME; DATASET alone lists its tags.

    A tag never moves: naming another version with it fails. A deleted one may only come back at the
    same version.
    """
    names.run(session, "tag", ref, name, delete=delete)
