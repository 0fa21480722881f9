"""`dataver.run`: one experiment run, recorded with what it read, what it made, and in what it ran."""

from __future__ import annotations

import os
import secrets
import shutil
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, overload

from dataver import events, recording
from dataver.config import author as default_author
from dataver.config import find_repository
from dataver.errors import (
    BadInputError,
    DamagedError,
    DataverError,
    NotPermittedError,
    StoreError,
)
from dataver.format.run_record import RunInput, RunModel, RunRecord, Tracker, part_digest
from dataver.lineage import spool
from dataver.lineage.code import capture_code
from dataver.lineage.environment import capture_environment
from dataver.lineage.gathering import Gathered, gather, noted_trackers
from dataver.lineage.local_model import local_model
from dataver.lineage.masking import mask_command, mask_record, mask_text
from dataver.lineage.model_link import link_models
from dataver.lineage.plain import KEY_CHARACTERS_MAX, VALUE_BYTES_MAX, checked_key, plain_value
from dataver.lineage.processes import this_process
from dataver.lineage.publishing import end_run, start_run
from dataver.lineage.records import check_model_name
from dataver.lineage.run_folders import make_run_folder
from dataver.lineage.run_values import fitting, log_folder, metric, own_command
from dataver.lineage.seeding import seed_all
from dataver.log.run_state import ModelState
from dataver.parts import Definition, SplitView
from dataver.recording import DEFAULT_ROLE, FOLDER_VARIABLE, RUN_VARIABLE, Recorder
from dataver.repository import Repository, open_repository
from dataver.reproduced import Plan, plan_for, take
from dataver.results import CommitResult
from dataver.session import Session
from dataver.version import Version

__all__ = ["CANCELLED", "DONE", "FAILED", "RUNS_REPO_VARIABLE", "Run", "run"]

RUNS_REPO_VARIABLE = "DATAVER_RUNS_REPO"
LOG_FOLDER_VARIABLE = "DATAVER_TENSORBOARD_LOGDIR"
NAME_CHARACTERS_MAX = 500
MODEL_FILES_MAX = 2000
"""The digests of so many of a model's files are in the record, the first by path; the tree is of all."""
DONE, FAILED, CANCELLED = "done", "failed", "cancelled"


class Run:
    """One run, made by `dataver.run`. In a `with` statement it begins and ends by itself.

    Whatever is read of versions in between is recorded, in this process and in those that it starts;
    so is every commit. One run at a time is on in a process; one within another has that for its parent.
    For one thread, save reading.
    """

    def __init__(
        self,
        name: str,
        *,
        params: Mapping[str, Any] | None = None,
        repo: str | os.PathLike[str] | Repository | None = None,
        author: str | None = None,
        command: Sequence[str] | None = None,
        storage_options: Mapping[str, Any] | None = None,
        opener: Callable[[], Repository] | None = None,
        options: Mapping[str, Any] | None = None,
        tensorboard: str | os.PathLike[str] | None = None,
    ) -> None:
        """`opener` opens the repository where it is not given; only if it is needed, or at the start.

        `options` are those of the record.
        """
        if not name.strip() or len(name) > NAME_CHARACTERS_MAX:
            raise BadInputError(f"{name!a:.100} cannot name a run: a text of some characters is expected")
        self.id = secrets.token_hex(16)
        self.name = name
        self.models: list[ModelState] = []
        """The models with their numbers, once the run has ended and was recorded."""
        self._params: dict[str, Any] = {}
        self._metrics: dict[str, Any] = {}
        self._seeds: dict[str, Any] = {}
        self._logged: list[RunModel] = []
        self._to_link: dict[int, str] = {}
        self._recorded_in: tuple[str, str] | None = None
        self._trackers: list[Tracker] = []
        self._given = repo
        self._options = storage_options
        self._repository = repo if isinstance(repo, Repository) else None
        self._author = author
        self._opener = opener
        self._command = tuple(command) if command is not None else None
        self._options_given = dict(options or {})
        self._log_folder = tensorboard
        self._plan: Plan | None = None
        self._start: RunRecord | None = None
        self._parts: list[bytes] = []
        self._recorder: Recorder | None = None
        self._before: tuple[Recorder | None, dict[str, str | None]] | None = None
        self._process = 0
        self._spooled = False
        self.record: RunRecord | None = None
        """What was recorded, once the run has ended."""
        if params:
            self.log_params(params)

    def __repr__(self) -> str:
        return f"<Run {self.name} {self.id[:12]}>"

    # Its life

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
            self.end()
            return
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        cancelled = isinstance(error, KeyboardInterrupt)
        try:
            self.end(CANCELLED if cancelled else FAILED, reason=reason)
        except DataverError as fault:
            # The error of the user's own code is the one to tell.
            warnings.warn(f"run {self.id[:12]} was not recorded: {fault}", stacklevel=2)

    def start(self) -> Self:
        """Begin: record what is known now, and note from here on what is read."""
        if self._start is not None:
            raise BadInputError(f"run {self.id[:12]} has begun before; a run begins once")
        folder = os.getcwd()
        command = self._command
        code, code_parts = capture_code(folder)
        environment, environment_parts = capture_environment(folder, command or ())
        self._parts = [*code_parts, *environment_parts]
        parent = recording.active
        self._plan, planned = plan_for(parent)
        if self._plan is not None and planned:
            self.id = self._plan.id
            self.log_seeds(**self._plan.seeds)
        record = RunRecord(
            self.id,
            self.name,
            default_author(self._author),
            time.time_ns() // 1000,
            command=mask_command(own_command() if command is None else command),
            process=this_process(),
            code=code,
            environment=environment,
            params=dict(self._params),
            parent="" if parent is None else parent.run,
            reproduces="" if self._plan is None else self._plan.run,
            options=self._options_given,
        )
        self._start = mask_record(record)
        notes = make_run_folder(self.id, record.process)
        try:
            self._put(self._start, None)
        except BaseException:
            shutil.rmtree(notes, ignore_errors=True)
            raise
        self._switch_on(notes)
        self._process = os.getpid()
        events.emit("run_started", self)
        log_folder = self._log_folder or (parent is None and os.environ.get(LOG_FOLDER_VARIABLE))
        if log_folder:
            self.tensorboard(log_folder)
        return self

    def end(
        self, status: str = DONE, *, exit_code: int | None = None, signal: int = 0, reason: str = ""
    ) -> None:
        """End: gather what all processes noted, and record it. Once; again, and in a forked process, nothing.

        `status` is `done`, `failed` or `cancelled`.
        """
        start, recorder = self._start, self._recorder
        if start is None:
            raise BadInputError(f"run {self.id[:12]} has not begun")
        if recorder is None or self._process != os.getpid():
            return
        self._switch_off()
        try:
            gathered = gather(recorder.folder)
        except (OSError, DamagedError) as error:
            gathered = Gathered()
            warnings.warn(f"what run {self.id[:12]} read is not known: {error}", stacklevel=2)
        record = replace(
            start,
            status=status,
            ended_us=max(time.time_ns() // 1000, start.started_us),
            exit_code=exit_code,
            signal=signal,
            reason=mask_text(reason)[:VALUE_BYTES_MAX],
            params=dict(self._params),
            metrics=dict(self._metrics),
            seeds=dict(self._seeds),
            inputs=gathered.inputs,
            outputs=gathered.outputs,
            models=(*self._logged, *gathered.models),
            trackers=tuple(dict.fromkeys([*self._trackers, *gathered.trackers])),
        )
        self._parts += gathered.parts
        self.record = fitting(mask_record(record))
        try:
            self._put(start, self.record)
            if self._to_link:
                link_models(self.record, self._recorded_in or self._place(), self.models, self._to_link)
        finally:
            shutil.rmtree(recorder.folder, ignore_errors=True)
        events.emit("run_ended", self)

    def _switch_on(self, folder: str) -> None:
        self._recorder = Recorder(self.id, folder)
        variables = {RUN_VARIABLE: self.id, FOLDER_VARIABLE: folder}
        before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        self._before = recording.activate(self._recorder), before
        if self._plan is not None:
            take(self._plan, self._recorder)

    def _switch_off(self) -> None:
        """Hear what others have to add, and note nothing more."""
        events.emit("run_ending", self)
        assert self._before is not None
        assert self._recorder is not None
        active, variables = self._before
        self._recorder.close()
        self._recorder = None
        recording.activate(active)
        for name, value in variables.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    # Where it is recorded

    @property
    def repository(self) -> Repository:
        """The repository of the data. For one thread."""
        if self._repository is None and self._opener is not None:
            self._repository = self._opener()
        if self._repository is None:
            place = self._given
            url = None if place is None or isinstance(place, Repository) else os.fspath(place)
            self._repository = open_repository(url, storage_options=self._options)
        return self._repository

    def _session(self) -> Session:
        """The repository that gets the record."""
        other = os.environ.get(RUNS_REPO_VARIABLE)
        return open_repository(other).session if other else self.repository.session

    def _place(self) -> tuple[str, str]:
        """URL and id of the repository that should get the record, as far as they are known."""
        other = os.environ.get(RUNS_REPO_VARIABLE)
        if not other and self._repository is not None:
            return self._repository.url, self._repository.id
        given = None if self._given is None or isinstance(self._given, Repository) else os.fspath(self._given)
        return other or given or find_repository() or "", ""

    def _put(self, start: RunRecord, end: RunRecord | None) -> None:
        """Record it; where that is impossible now, put it aside: an end in any case, as it comes once."""
        try:
            session = self._session()
            if end is None:
                start_run(session, start, self._parts)
            else:
                self.models = end_run(session, end, self._parts, start=start)
        except (DataverError, KeyboardInterrupt) as error:
            if end is None and not isinstance(error, NotPermittedError | StoreError):
                raise
            url, repository = self._place()
            folder = spool.keep(mask_text(url), repository, start, end, self._parts)
            self._spooled = True
            if isinstance(error, KeyboardInterrupt):
                raise
            if end is not None:
                warnings.warn(
                    f"run {self.id[:12]} waits in {folder}: {error}. `dataver runs push` records it",
                    stacklevel=3,
                )
            return
        self._recorded_in = session.store.url, session.repository
        if self._spooled:
            spool.drop(self.id)
            self._spooled = False

    # What it reads and makes

    @overload
    def use(
        self, ref: str, role: str = ..., *, split: None = ..., by: Definition | None = ...
    ) -> Version: ...

    @overload
    def use(self, ref: str, role: str = ..., *, split: str, by: Definition | None = ...) -> SplitView: ...

    def use(
        self, ref: str, role: str = DEFAULT_ROLE, *, split: str | None = None, by: Definition | None = None
    ) -> Version | SplitView:
        """A version, or a part of it, that is recorded as read in this role: `training`, `validation`…

        `split` and `by` as for `Version.split`.
        """
        self._require_on()
        if not role or len(role) > KEY_CHARACTERS_MAX or not role.isprintable():
            raise BadInputError(f"{role!a:.100} is no role: one word is expected, such as 'training'")
        found = self.repository.version(ref)
        if split is None:
            version = found.asked_as(ref=ref, role=role, declared=True)
            _note(version)
            return version
        view = found.asked_as(ref=ref, role=role, declared=True).split(split, by)
        _note(view.version)
        return view

    def log_output(
        self, dataset: str, source: str | os.PathLike[str], *, repo: Repository | None = None, **options: Any
    ) -> CommitResult:
        """Commit `source` as the next version of `dataset`; see `Repository.commit`, also for `options`.

        Any other commit while the run is on is recorded as well.
        """
        self._require_on()
        return (repo or self.repository).commit(dataset, source, **options)

    def log_model(
        self,
        name: str,
        path: str | os.PathLike[str],
        *,
        uri: str = "",
        meta: Mapping[str, Any] | None = None,
        link: bool = False,
    ) -> RunModel:
        """Record a model, a folder or a file, by the digests of its files; the bytes stay where they are.

        It gets a version number when the run is recorded. `uri` is where the model can be had, and will
        not be another one tomorrow. `link` has `dataver.json` written into its folder, or beside the file,
        when the run has ended, so that it can be audited wherever it is copied to.
        """
        self._require_on()
        check_model_name(name)
        found = local_model(path)
        more = {key: plain_value(key, value) for key, value in (meta or {}).items()}
        if len(found.files) > MODEL_FILES_MAX:
            more = {**more, "files": len(found.files)}
        place = os.path.abspath(path)
        model = RunModel(name, found.trees[-1], found.unlinked[:MODEL_FILES_MAX], uri, more)
        self._logged.append(model)
        if link:
            self._to_link[len(self._logged) - 1] = place
        events.emit("model_logged", self, model)
        return model

    # What it is told

    def log_param(self, name: str, value: Any) -> None:
        """Record a parameter: what JSON can hold, anything else as text. The last value counts."""
        self._require_open()
        self._params[checked_key(name, "parameter")] = plain_value(name, value)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record several parameters."""
        for name, value in params.items():
            self.log_param(name, value)

    def log_metric(self, name: str, value: float, step: int | None = None) -> None:  # noqa: ARG002 - as trackers have it
        """Record a number that tells how well it went. The last value counts; a tracker keeps the others."""
        self._require_open()
        self._metrics[checked_key(name, "metric")] = metric(name, value)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record several metrics."""
        for name, value in metrics.items():
            self.log_metric(name, value, step)

    def seed(self, value: int) -> int:
        """Seed `random`, and NumPy and PyTorch where they are loaded, and record it; gives the seed."""
        self.log_seeds(**seed_all(value))
        return value

    def log_seeds(self, **seeds: int) -> None:
        """Record seeds by the name of what they are for."""
        self._require_open()
        for name, value in seeds.items():
            self._seeds[checked_key(name, "seed")] = plain_value(name, value)

    def add_tracker(self, kind: str, run_id: str, uri: str = "", experiment: str = "") -> None:
        """Record what this run is called in another tool, so that it is found by that."""
        self._require_open()
        tracker = Tracker(
            checked_key(kind, "tracker"), checked_key(run_id, "run of a tracker"), uri, experiment
        )
        if tracker not in self._trackers:
            self._trackers.append(tracker)
        events.emit("tracker_added", self, tracker)

    def tensorboard(self, folder: str | os.PathLike[str]) -> None:
        """Have TensorBoard show beside what is in its log folder what this run read, and how it ended.

        An event file of our own is there from now on, and the rest is written at the end. Called when the
        inputs are named or read, it shows them while the run is on; it may be called again. Needs
        `dataver[tensorboard]`. A URL is a warning, and nothing is written.
        """
        self._require_on()
        if place := log_folder(folder):
            self.add_tracker("tensorboard", self.id, place)

    @property
    def trackers(self) -> tuple[Tracker, ...]:
        """What it is called in other tools, as this process and its others noted it so far."""
        noted = () if self._recorder is None else noted_trackers(self._recorder.folder)
        return tuple(dict.fromkeys([*self._trackers, *noted]))

    @property
    def start_record(self) -> RunRecord | None:
        """What was recorded when it began."""
        return self._start

    @property
    def inputs(self) -> tuple[RunInput, ...]:
        """What its processes have read by now, or in all when it has ended."""
        if self._recorder is None:
            return () if self.record is None else self.record.inputs
        self._recorder.flush()
        return gather(self._recorder.folder).inputs

    @property
    def parts(self) -> dict[str, bytes]:
        """The parts that its records name so far, by digest."""
        return {str(part_digest(data)): data for data in self._parts}

    @property
    def waits(self) -> bool:
        """Whether it waits on this machine to be recorded."""
        return self._spooled

    @property
    def params(self) -> dict[str, Any]:
        """The parameters so far."""
        return dict(self._params)

    @property
    def metrics(self) -> dict[str, Any]:
        """The metrics so far."""
        return dict(self._metrics)

    def _require_open(self) -> None:
        if self.record is not None:
            raise BadInputError(f"run {self.id[:12]} has ended, and its record never changes")

    def _require_on(self) -> None:
        if self._recorder is None:
            raise BadInputError(f"run {self.id[:12]} is not on: use it in `with dataver.run(…) as run:`")


def run(
    name: str,
    *,
    params: Mapping[str, Any] | None = None,
    repo: str | os.PathLike[str] | Repository | None = None,
    author: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    tensorboard: str | os.PathLike[str] | None = None,
) -> Run:
    """A run to be used in a `with` statement: `with dataver.run("train", params={"lr": 0.1}) as run:`.

    `repo` is where data are read and the run is recorded, found as `dataver.open` finds it;
    `DATAVER_RUNS_REPO` names another one for the record. A run that cannot be recorded there now, for
    want of rights or of a network, waits on this machine for `dataver runs push`. `tensorboard` is a log
    folder; see `Run.tensorboard`.

    An exception makes it failed, Ctrl-C cancelled; where the process dies, it has a start and no end.
    What looks like a secret is masked in all that is recorded.
    """
    return Run(
        name, params=params, repo=repo, author=author, storage_options=storage_options,
        tensorboard=tensorboard,
    )  # fmt: skip


def _note(version: Version) -> None:
    reads = version.reads
    assert reads is not None
    reads.number()
