"""`dataver run`: a command, recorded with no change to it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import field
from typing import TYPE_CHECKING, Any

import click

from dataver.cli import output
from dataver.cli.options import author_option, verb
from dataver.cli.session import Session
from dataver.cli.types import PLACE
from dataver.values import dataclass

if TYPE_CHECKING:
    from dataver.running import Run

DOCUMENT = (
    '{"id", "name", "status": "done", "failed" or "cancelled", "exit_code", "signal",\n'
    ' "inputs": ["DATASET@vN"…], "outputs": ["DATASET@vN"…], "models": ["NAME@vN"…],\n'
    ' "waiting": true where `dataver runs push` must record it}'
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the options ask for, beside the command."""

    inputs: list[tuple[str, str | None, str]] = field(default_factory=list)
    outputs: list[tuple[str, str]] = field(default_factory=list)
    models: list[tuple[str, str]] = field(default_factory=list)
    metrics_file: str | None = None
    link: bool = False
    tensorboard: str | None = None


@verb(
    "run",
    "dataver run -- python train.py",
    "dataver run --input iris@v3:train=training --model churn=model.pkl -- python train.py --lr 0.1",
    "dataver run --name clean --input raw --output clean=data/clean -- make clean-data",
    document=DOCUMENT,
)
@click.option("--name", metavar="NAME", help="What the run is called; default: the command's file.")
@click.option(
    "--input", "inputs", multiple=True, metavar="REF[:PART][=ROLE]", help="A version it reads; repeatable."
)
@click.option(
    "--output", "outputs", multiple=True, metavar="DATASET=FOLDER", help="Commit FOLDER when it is done."
)
@click.option("--model", "models", multiple=True, metavar="NAME=PATH", help="Record a model when it is done.")
@click.option("--link", is_flag=True, help="Write dataver.json, which leads back to the run, to each model.")
@click.option("--param", "params", multiple=True, metavar="KEY=VALUE", help="A parameter; repeatable.")
@click.option("--params-file", metavar="FILE", help="Parameters, from a JSON or TOML file.")
@click.option("--metrics-file", metavar="FILE", help="Metrics, from a JSON file that the command writes.")
@click.option(
    "--tensorboard", type=PLACE, metavar="LOGDIR", help="Show in TensorBoard what it read, and how it ended."
)
@click.option("--seed", type=int, metavar="N", help="Record the seed that the command is given.")
@author_option
@click.argument("command", nargs=-1, type=click.UNPROCESSED, required=True, metavar="COMMAND [ARGUMENT]...")
def command(
    session: Session,
    name: str | None,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    models: tuple[str, ...],
    link: bool,
    params: tuple[str, ...],
    params_file: str | None,
    metrics_file: str | None,
    tensorboard: str | None,
    seed: int | None,
    author: str | None,
    command: tuple[str, ...],
) -> None:
    """Run COMMAND, and record what it read and made, its code, its environment and how it ended.

    Whatever it reads through dataver is recorded by itself, also by processes that it starts; --input names
    what it reads otherwise, or gives it a role. A name such as iris@prod means the same version for all of
    the run. The exit code is that of COMMAND; 128 and the signal's number where a signal ended it.
    With --json, what COMMAND prints goes to standard error.
    """
    from dataver.cli.run_files import metrics_of, params_of
    from dataver.running import Run

    wanted = Wanted(
        [_input(text) for text in inputs],
        [_pair(text, "--output", "DATASET=FOLDER") for text in outputs],
        [_pair(text, "--model", "NAME=PATH") for text in models],
        metrics_file,
        link,
        tensorboard,
    )
    run = Run(
        name or _name(command),
        params=params_of(params, params_file),
        repo=session.repo,
        author=author,
        command=command,
        opener=session.open,
        options=_options(inputs, wanted),
    )
    _check(run, wanted)
    if seed is not None:
        run.log_seeds(seed=seed)
    code = _record(run, command, wanted, session.json, metrics_of)
    session.answer(lambda: _document(run), lambda: ())
    if not session.json:
        for line in _lines(run):
            click.echo(line, err=True)
    if code:
        raise click.exceptions.Exit(code)


command.allow_interspersed_args = False


def _options(inputs: tuple[str, ...], wanted: Wanted) -> dict[str, Any]:
    """What it takes to do the same again, as the record has it."""
    found = {
        "inputs": list(inputs),
        "outputs": [list(pair) for pair in wanted.outputs],
        "models": [list(pair) for pair in wanted.models],
        "metrics_file": wanted.metrics_file,
    }
    return {name: value for name, value in found.items() if value}


def _record(run: Run, command: tuple[str, ...], wanted: Wanted, json: bool, metrics_of: Any) -> int:
    """Run the command within the run, and take what it made; gives the exit code."""
    from dataver.cli.child import run_child
    from dataver.errors import DataverError
    from dataver.running import CANCELLED, DONE, FAILED

    run.start()
    try:
        for ref, part, role in wanted.inputs:
            if part is None:
                run.use(ref, role)
            else:
                run.use(ref, role, split=part)
        if wanted.tensorboard is not None:
            run.tensorboard(wanted.tensorboard)  # Behind the inputs, which it shows from now on.
        ended = run_child(command, to_stderr=json)
        if wanted.metrics_file is not None:
            run.log_metrics(metrics_of(wanted.metrics_file, required=ended.code == 0))
        if ended.code == 0 and not ended.interrupted:
            for dataset, folder in wanted.outputs:
                run.log_output(dataset, folder)
            for model, path in wanted.models:
                run.log_model(model, path, link=wanted.link)
    except (DataverError, OSError, KeyboardInterrupt) as error:
        status = CANCELLED if isinstance(error, KeyboardInterrupt) else FAILED
        run.end(status, reason=f"{type(error).__name__}: {error}")
        raise
    status = CANCELLED if ended.interrupted else FAILED if ended.code else DONE
    run.end(status, exit_code=None if ended.signal else ended.code, signal=ended.signal, reason=ended.reason)
    return 130 if ended.interrupted else ended.code


def _check(run: Run, wanted: Wanted) -> None:
    """Refuse what must fail before anything runs: names that mean nothing."""
    from dataver.lineage.records import check_model_name
    from dataver.refs import check_dataset_name

    for ref, part, _ in wanted.inputs:
        version = run.repository.version(ref)
        if part is not None:
            version.split(part)
    for dataset, _ in wanted.outputs:
        check_dataset_name(dataset)
    for model, _ in wanted.models:
        check_model_name(model)


def _input(text: str) -> tuple[str, str | None, str]:
    from dataver.parts import parse_node

    node, equals, role = text.partition("=")
    if equals and not role:
        raise click.UsageError(f"--input {text!r} names no role after the equals sign.")
    ref, part = parse_node(node)
    return ref, part, role or "input"


def _pair(text: str, option: str, form: str) -> tuple[str, str]:
    name, equals, place = text.partition("=")
    if not equals or not name or not place:
        raise click.UsageError(f"{option} takes {form}.")
    return name, place


def _name(command: tuple[str, ...]) -> str:
    """`train` for `python -u src/train.py …`, else the program."""
    program = os.path.basename(command[0])
    if program.startswith("python"):
        for at, argument in enumerate(command[1:], 1):
            if argument == "-m" and at + 1 < len(command):
                return command[at + 1]
            if argument.endswith(".py"):
                return os.path.basename(argument).removesuffix(".py") or program
            if not argument.startswith("-"):
                break
    return program or "run"


def _document(run: Run) -> dict[str, Any]:
    record = run.record
    assert record is not None
    return {
        "id": run.id,
        "name": record.name,
        "status": record.status,
        "exit_code": record.exit_code,
        "signal": record.signal,
        "inputs": [f"{i.dataset}@{f'v{i.number}' if i.number else i.version}" for i in record.inputs],
        "outputs": [f"{o.dataset}@{f'v{o.number}' if o.number else o.version}" for o in record.outputs],
        "models": [str(model) for model in run.models],
        "waiting": run.waits,
    }


def _lines(run: Run) -> Iterator[str]:
    record = run.record
    assert record is not None
    found = _document(run)
    yield f"run {output.name(run.id[:12])}  {output.safe(record.name)}  {record.status}"
    for what in ("inputs", "outputs", "models"):
        if found[what]:
            yield f"  {what}: {', '.join(found[what])}"
