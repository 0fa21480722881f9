"""`dataver repro`: do a run again, and compare what it makes."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from dataver.cli import output
from dataver.cli.options import verb
from dataver.cli.session import Session, key_values
from dataver.cli.types import PLACE
from dataver.errors import BadInputError, CheckFailedError

if TYPE_CHECKING:
    from dataver.cli.child import Ended
    from dataver.reproducing.outcome import Result
    from dataver.reproducing.repeat import Repeated

DOCUMENT = (
    '{"original": id, "run": id, "status": equal, within tolerance or different, "reason",\n'
    ' "results": [{"kind": model, output or metric, "name", "before", "after", "state", "tolerance"}…],\n'
    ' "first": a difference or null, "differences": as `dataver runs diff` has them,\n'
    ' "code": {"commit", "from"}, "environment", "kept", "notes": [text…]}'
)
COLOURS = {"equal": "green", "within tolerance": "green", "different": "red"}


@verb(
    "repro",
    "dataver repro churn@v2",
    "dataver repro 39a8545a --env keep --tolerance f1=0.01",
    "dataver repro run:39a8545a --keep again -- python train.py --epochs 3",
    document=DOCUMENT,
)
@click.argument("named", metavar="RUN|MODEL")
@click.option(
    "--env",
    "environment",
    type=click.Choice(["auto", "keep", "venv"]),
    default="auto",
    help="keep: the Python that is here; venv: a new one with the packages of the lock; auto: venv where "
    "the run had a lock file that is in its commit.",
)
@click.option(
    "--tolerance", "tolerances", multiple=True, metavar="METRIC=REL",
    help="Where models differ, it is enough that METRIC is as near: 0.01 is one percent; repeatable.",
)  # fmt: skip
@click.option("--keep", type=PLACE, metavar="FOLDER", help="Do it in this new folder, and keep that.")
@click.option("--code", metavar="PLACE", help="The git repository with the commit, a folder or a URL.")
@click.option(
    "--take",
    type=PLACE,
    multiple=True,
    metavar="PATH",
    help="Bring along what git does not have; repeatable.",
)
@click.option(
    "--checkout", "checkouts", multiple=True, metavar="DATASET=FOLDER",
    help="Write the files that the run read into FOLDER beforehand; repeatable.",
)  # fmt: skip
@click.option(
    "--model", "models", multiple=True, metavar="NAME=PATH", help="Where the command writes a model now."
)
@click.option("--metrics-file", metavar="FILE", help="Where the command writes its metrics now.")
@click.option("--without-patch", is_flag=True, help="Leave out the changes that were not committed.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND [ARGUMENT]...]")
def command(
    session: Session,
    named: str,
    environment: str,
    tolerances: tuple[str, ...],
    keep: str | None,
    code: str | None,
    take: tuple[str, ...],
    checkouts: tuple[str, ...],
    models: tuple[str, ...],
    metrics_file: str | None,
    without_patch: bool,
    command: tuple[str, ...],
) -> None:
    """Do RUN, or the run that made MODEL, again: same commit, environment, data and command; and compare.

    It is done in a folder of its own, on the exact versions that were read, and recorded as a run. The exit
    code is 0 where models and versions have equal bytes, or metrics are within --tolerance; 9 where they
    differ; 3 where something that it takes is not there; 5 where data are damaged. It runs what was
    recorded: only repeat runs of people whom you trust.
    """
    import dataver
    from dataver.reproducing.repeat import Wanted, repeat

    options = {"models": key_values(models, "--model"), "metrics_file": metrics_file}
    wanted = Wanted(
        environment, _tolerances(tolerances), keep, code, take, command,
        tuple(key_values(checkouts, "--checkout").items()),
        {name: value for name, value in options.items() if value}, without_patch,
    )  # fmt: skip
    repository = session.open()
    done = repeat(
        repository,
        named,
        wanted,
        launch=_launch,
        opener=lambda url: dataver.open(url, offline=session.offline),
        tell=output.note,
        options=[
            option
            for key, value in session.storage_options.items()
            for option in ("--storage-option", f"{key}={value}")
        ],
    )
    session.answer(done.to_json, lambda: lines(done))
    if not done:
        first = done.difference.first
        cause = "no ingredient that is on record" if first is None else f"{first.ingredient}, {first.name}"
        what = done.reason or "it gave something else"
        raise CheckFailedError(
            f"run {done.original.run[:12]} was repeated, and {what}; what differs first: {cause}"
        )


def _launch(arguments: Sequence[str], folder: str, variables: Mapping[str, str | None]) -> Ended:
    from dataver.cli.child import run_child

    settings = {**os.environ, **{name: value for name, value in variables.items() if value is not None}}
    for name in [name for name, value in variables.items() if value is None]:
        settings.pop(name, None)
    return run_child(arguments, to_stderr=True, folder=folder, variables=settings)


def _tolerances(texts: tuple[str, ...]) -> dict[str, float]:
    found = {}
    for name, text in key_values(texts, "--tolerance").items():
        try:
            found[name] = float(text)
        except ValueError:
            found[name] = math.nan
        if not found[name] >= 0:
            raise BadInputError(f"--tolerance {name}={text}: a number is expected, as 0.01 for one percent")
    return found


def lines(done: Repeated) -> Iterator[str]:
    """What was compared, what differs in how it was made, and the verdict."""
    from dataver.cli.runs_diff import difference_lines

    yield f"run {output.name(done.original.run[:12])} again: run {output.name(done.run.run[:12])}"
    yield from output.columns([_row(result) for result in done.results])
    made_from = tuple(one for one in done.difference.differences if one.ingredient != "results")
    if made_from:
        yield "what it was made from differs:"
        yield from difference_lines(made_from)
    for note in done.notes:
        yield output.dim(output.safe(note))
    if done.kept:
        yield f"kept in {output.path_text(done.kept)}"
    reason = f": {output.safe(done.reason)}" if done.reason else ""
    yield f"{click.style(done.status.upper(), fg=COLOURS[done.status], bold=True)}{reason}"


def _row(result: Result) -> tuple[str, ...]:
    if result.kind == "metric":
        before, after = (
            str(value) for value in (result.before, "-" if result.after is None else result.after)
        )
    else:
        before, after = output.elided_id(result.before), output.elided_id(result.after)
    values = before if result.state == "equal" else f"{before} -> {after}"
    state = click.style(result.state, fg=COLOURS[result.state])
    return result.kind, output.name(result.name), state, output.safe(values)
