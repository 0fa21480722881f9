"""`dataver list`: the datasets."""

from __future__ import annotations

from dataver.cli import output
from dataver.cli.options import verb
from dataver.cli.session import Session

DOCUMENT = '{"datasets": [{"name", "head": "v3", "id", "files", "bytes"}]}'


@verb("list", "dataver list", reads=True, document=DOCUMENT)
def command(session: Session) -> None:
    """List the datasets with their heads, files and bytes."""
    datasets = list(session.open().datasets())
    session.answer(
        lambda: {"datasets": [dataset.to_json() for dataset in datasets]},
        lambda: output.columns(
            [
                (
                    output.name(f"{dataset.name}@{dataset.head}" if dataset.head else dataset.name),
                    output.dim(output.short_id(dataset.id) or "no main"),
                    output.amount(dataset.files, "file"),
                    output.size_text(dataset.bytes),
                )
                for dataset in datasets
            ],
            right=(2, 3),
        ),
    )
