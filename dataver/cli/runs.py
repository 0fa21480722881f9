"""`dataver runs`: what was run, and what is known of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import click

from dataver.cli import output
from dataver.cli.options import verb
from dataver.cli.session import Session
from dataver.cli.types import REF

if TYPE_CHECKING:
    from dataver.format.run_record import RunInput, RunOutput
    from dataver.lineage.listing import RunInfo
    from dataver.log.state import State
    from dataver.session import Session as Opened

DOCUMENT = (
    'list: {"runs": [{"id", "name", "status", "author", "started", "ended", "exit_code",\n'
    ' "inputs": ["DATASET@vN"…], "outputs": […], "models": ["NAME@vN"…], "params", "metrics", "waiting",\n'
    '   "reproduces": id of the run that it repeats, or empty}…]}\n'
    'show: all of the record: also "command", "code", "environment", "seeds", "trackers", "reason";\n'
    ' "inputs": [{"role", "ref", "dataset", "version", "tree", "split", "whole", "files", "bytes_read"…}…]\n'
    'diff: {"a": id, "b": id, "first": a difference or null, "differences": [{"ingredient": data, code,\n'
    '   parameters, environment, seeds or results, "name", "before", "after", "detail"}…], "unknown": […]}\n'
    'push: {"pushed": [id…], "waiting": [id…]}'
)
TAKES = {"show": 1, "diff": 2}
STATUS = ("done", "failed", "cancelled", "running", "crashed", "unfinished")


@verb(
    "runs",
    "dataver runs",
    "dataver runs --dataset iris@v3 --status done",
    "dataver runs show 39a8545a",
    "dataver runs diff 39a8545a 7c1e4d5f",
    "dataver runs diff churn@v1 churn@v2 --fail-on difference",
    "dataver runs push",
    document=DOCUMENT,
)
@click.argument("action", type=click.Choice(["list", "show", "diff", "push"]), default="list")
@click.argument("named", nargs=-1, metavar="[RUN]...")
@click.option("--limit", "-n", type=click.IntRange(min=1), metavar="N", help="list: so many at most.")
@click.option(
    "--dataset", type=REF, metavar="REF", help="list: those that read or made this version or dataset."
)
@click.option("--status", type=click.Choice(STATUS), help="list: those that ended so.")
@click.option("--model", metavar="NAME", help="list: those that made this model.")
@click.option(
    "--fail-on", type=click.Choice(["difference"]), help="diff: end with exit code 9 where anything differs."
)
def command(
    session: Session,
    action: str,
    named: tuple[str, ...],
    limit: int | None,
    fail_on: str | None,
    **more: Any,
) -> None:
    """List the runs, newest first; show one; tell what differs between two; or record those that wait.

    diff: RUN is the id of a run, or the model NAME@vN that it made. It tells the first ingredient that
    differs, then all: data, code, parameters, environment, seeds, and last the results.

    A run that began and never ended is `crashed` where its process is gone, `running` where it lives, and
    `unfinished` where another machine would have to tell. push: runs that could not be recorded in their
    repository wait on this machine; this records each where it belongs, with --repo those that belong there.
    """
    if len(named) != TAKES.get(action, 0):
        raise click.UsageError("`runs show` takes one RUN, `runs diff` two, the others none.")
    if action == "diff":
        from dataver.cli.runs_diff import diff

        diff(session, named[0], named[1], fail_on)
        return
    from dataver.cli.runs_push import open_runs, push

    if action == "push":
        push(session)
        return
    repository = open_runs(session).session
    state = repository.state()
    if action == "show":
        info = _find(repository, state, named[0])
        session.answer(info.to_full_json, lambda: show_lines(info))
        return
    found = list(islice(chain(_waiting(repository, **more), _chosen(repository, state, **more)), limit))
    session.answer(lambda: {"runs": [info.to_json() for info in found]}, lambda: list_lines(found))


def _find(repository: Opened, state: State, text: str) -> RunInfo:
    from dataver.errors import RefNotFoundError
    from dataver.lineage.listing import RunInfo, run_info, status_of
    from dataver.lineage.records import RUN_PREFIX, Records, find_run
    from dataver.lineage.spool import waiting

    try:
        return run_info(state, Records(repository, state), find_run(state, text))
    except RefNotFoundError:
        for kept in waiting():
            if kept.run.startswith(text.removeprefix(RUN_PREFIX).lower()):
                record = kept.end or kept.start
                return RunInfo(record, status_of(record, ended=kept.end is not None), waiting=kept.folder)
        raise


def _waiting(repository: Opened, dataset: str | None, status: str | None, model: str | None) -> list[RunInfo]:
    """The runs that wait for this repository, newest first; of a version, those of its dataset."""
    from dataver.lineage.listing import RunInfo, status_of
    from dataver.lineage.spool import waiting

    found = []
    for kept in waiting():
        record = kept.end or kept.start
        info = RunInfo(record, status_of(record, ended=kept.end is not None), waiting=kept.folder)
        name = None if dataset is None else dataset.partition("@")[0]
        if kept.repository == repository.repository and _fits(info, name, status, model):
            found.append(info)
    return found[::-1]


def _fits(info: RunInfo, dataset: str | None, status: str | None, model: str | None) -> bool:
    record = info.record
    named: set[str] = set()
    ones: list[RunInput | RunOutput] = [*record.inputs, *record.outputs]
    for one in ones:
        named |= {one.dataset, f"{one.dataset}@v{one.number}", f"{one.dataset}@{one.version}"}
    return (
        (dataset is None or dataset in named)
        and status in (None, info.status)
        and (model is None or any(made.name == model for made in record.models))
    )


def _chosen(
    repository: Opened, state: State, dataset: str | None, status: str | None, model: str | None
) -> Iterator[RunInfo]:
    from dataver.errors import RefNotFoundError
    from dataver.lineage.listing import run_infos, runs_of
    from dataver.lineage.records import Records

    wanted: set[str] | None = None
    if dataset is not None and "@" in dataset:
        try:
            both = runs_of(state, repository.resolve(dataset, state).version.id)
        except RefNotFoundError:
            pass  # It may be of another repository: the records say which `vN` or id they mean.
        else:
            wanted, dataset = {run.hex() for run in (*both[0], *both[1])}, None
    for info in run_infos(state, Records(repository, state)):
        if (wanted is None or info.record.run in wanted) and _fits(info, dataset, status, model):
            yield info


def list_lines(found: list[RunInfo]) -> Iterator[str]:
    """A line a run."""
    rows = []
    for info in found:
        record = info.record
        document = info.to_json()
        read, made = ", ".join(document["inputs"]), ", ".join([*document["models"], *document["outputs"]])
        arrow = f"{read or '-'} -> {made or '-'}"
        rows.append(
            (
                output.name(record.run[:12]), output.safe(record.name),
                status_text(info.status) + (", waiting" if info.waiting else ""),
                output.time_text(info.started), output.safe(arrow),
            )
        )  # fmt: skip
    yield from output.columns(rows)


def status_text(status: str) -> str:
    """The status in its colour."""
    colours = {"done": "green", "failed": "red", "crashed": "red", "cancelled": "yellow"}
    return click.style(status, fg=colours.get(status))


def show_lines(info: RunInfo) -> Iterator[str]:
    """The facts of a run in two columns, then what it read and made."""
    record = info.record
    code, environment = record.code, record.environment
    yield f"{output.name('run:' + record.run)}  {output.safe(record.name)}"
    dirty = "" if code is None or not code.dirty else " with changes"
    facts = [
        ("status", status_text(info.status)),
        ("exit code", "" if record.exit_code is None else str(record.exit_code)),
        ("reason", output.safe(record.reason)),
        ("waiting in", output.path_text(info.waiting)),
        ("author", output.safe(record.author)),
        ("started", output.time_text(info.started)),
        ("ended", "" if info.ended is None else output.time_text(info.ended)),
        ("command", output.safe(" ".join(record.command))),
        ("parent", record.parent),
        ("reproduces", record.reproduces),
        ("host", output.safe(record.process.host)),
        (
            "code",
            "" if code is None else output.safe(f"{code.commit or code.reason}{dirty} {code.branch}".strip()),
        ),
        ("from", "" if code is None else output.safe(code.url)),
        ("python", "" if environment is None else output.safe(environment.python)),
        ("platform", "" if environment is None else output.safe(environment.platform)),
        *(("tracker", output.safe(f"{t.kind}:{t.run_id} {t.uri}".strip())) for t in record.trackers),
    ]
    yield from output.columns([(output.dim(key), value) for key, value in facts if value])
    for title, values in (("params", record.params), ("metrics", record.metrics), ("seeds", record.seeds)):
        if values:
            yield f"\n{title}"
            yield from output.columns(
                [
                    (f"  {output.safe(key)}", output.safe(_text(value)))
                    for key, value in sorted(values.items())
                ]
            )
    yield from _data_lines(info)


def _data_lines(info: RunInfo) -> Iterator[str]:
    record = info.record
    if record.inputs:
        yield "\nread"
    for given in record.inputs:
        part = "" if given.split is None else output.safe(f":{given.split.get('part', '')}")
        many = "all files" if given.whole else output.amount(given.files, "file")
        unseen = given.whole and not given.bytes_read
        much = "handed out" if unseen else output.size_text(given.bytes_read)
        yield (
            f"  {output.name(f'{given.dataset}@v{given.number}' if given.number else given.version)}{part}"
            f"  as {output.safe(given.role)}  {many}, {much}"
        )
    if record.outputs or record.models:
        yield "\nmade"
    for made in record.outputs:
        yield f"  {output.name(f'{made.dataset}@v{made.number}' if made.number else made.version)}"
    for model, name in zip(record.models, info.model_names(), strict=True):
        yield f"  model {output.name(name)}  {output.elided_id(model.tree)}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
