"""`dataver branch`: start a line of versions beside main."""

from __future__ import annotations

from dataver.cli import names
from dataver.cli.options import verb
from dataver.cli.session import Session


@verb(
    "branch",
    "dataver branch iris@v3 cleaning",
    "dataver branch iris cleaning --delete",
    reads=True,
    document=names.DOCUMENT,
)
@names.name_parameters("branch")
def command(session: Session, ref: str, name: str | None, delete: bool) -> None:
    """Start the branch NAME at the version REF; DATASET alone lists its branches.

    A branch moves by commits: `dataver commit DATASET SOURCE --branch NAME`. main is never deleted.
    """
    names.run(session, "branch", ref, name, delete=delete)
