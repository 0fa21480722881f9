"""`dataver alias`: name a version, and move the name when told to."""

from __future__ import annotations

from dataver.cli import names
from dataver.cli.options import verb
from dataver.cli.session import Session


@verb(
    "alias",
    "dataver alias iris@v3 prod",
    "dataver alias iris prod --delete",
    reads=True,
    document=names.DOCUMENT,
)
@names.name_parameters("alias")
def command(session: Session, ref: str, name: str | None, delete: bool) -> None:
    """Point the alias NAME at the version REF; DATASET alone lists its aliases.

    An alias, such as prod, stays where it is until it is told to move.
    """
    names.run(session, "alias", ref, name, delete=delete)
