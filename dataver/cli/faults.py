"""From exceptions to exit codes: every failure ends as one short paragraph on standard error."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from dataver.cli import output
from dataver.cli.interrupt import INTERRUPTED, interruptible
from dataver.cli.session import Session
from dataver.errors import DataverError

if TYPE_CHECKING:
    from dataver.cli.root import Root

DONE = 0
UNEXPECTED = 1
BAD_INPUT = 2
NOT_FOUND = 3
STORE_FAILED = 7
NOT_PERMITTED = 8
# What a shell reports for a program that ended because the reader of its output went away.
OUTPUT_CLOSED = 141

EXIT_CODES = {
    DONE: "done",
    UNEXPECTED: "unexpected",
    BAD_INPUT: "bad input: names, options, malformed files",
    NOT_FOUND: "not found",
    4: "exists already, or a conflict",
    5: "damaged data",
    6: "would overwrite changed files",
    STORE_FAILED: "the store failed: network, space",
    NOT_PERMITTED: "not permitted",
    9: "a check that was asked for did not hold",
    INTERRUPTED: "interrupted",
    OUTPUT_CLOSED: "the reader of the output went away",
}

NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}


def run(root: Root, program: str, arguments: list[str]) -> int:
    """Run one command line and return its exit code. Raises nothing: what goes wrong is told and counted."""
    session = Session()
    with own_warnings(), interruptible():
        try:
            code = invoke(root, program, arguments, session)
            flush_output()
        except BrokenPipeError:
            code = OUTPUT_CLOSED
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  the one border where all end
            code, message = explain(error, arguments)
            as_json = session.json or "--json" in arguments
            tell(error, code, message, debug=session.debug or "--debug" in arguments, as_json=as_json)
    try:
        flush_output()
    except OSError:
        silence_output()
    if session.at_end is not None:
        session.at_end(code)
    return code


def invoke(root: Root, program: str, arguments: list[str], session: Session) -> int:
    """Parse and run; the exit code of a command that ended by itself."""
    try:
        with root.make_context(program, list(arguments), obj=session) as context:
            root.invoke(context)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    return DONE


def explain(error: BaseException, arguments: list[str]) -> tuple[int, str]:
    """The exit code and the paragraph of an error."""
    if isinstance(error, DataverError):
        return error.exit_code, str(error) or type(error).__name__
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return INTERRUPTED, "interrupted; what was complete before stays, nothing half-done is visible"
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return BAD_INPUT, "no verb was given; `dataver --help` lists them"
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "dataver"
        return BAD_INPUT, f"{sentence(error.format_message())} See `{path} --help`."
    if isinstance(error, click.ClickException):
        return BAD_INPUT, sentence(error.format_message())
    if isinstance(error, MemoryError):
        return UNEXPECTED, "out of memory; close other programs, or use fewer threads with --jobs 1"
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return STORE_FAILED, f"no space left: {error}; make room and run the command again"
    if isinstance(error, OSError) and error.errno in REFUSED:
        return NOT_PERMITTED, f"not permitted: {error}; check the permissions"
    if isinstance(error, FileNotFoundError) and not current_folder_exists():
        return NOT_FOUND, "the current folder was deleted; change to one that exists, then run it again"
    detail = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    hint = "" if "--debug" in arguments else "; `dataver --debug …` prints where"
    return UNEXPECTED, f"unexpected, a defect of dataver: {detail}{hint}"


def current_folder_exists() -> bool:
    """Whether relative paths mean anything: a shell may stay in a folder that was deleted."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def sentence(text: str) -> str:
    """Click's message as one of ours: one paragraph with a small first letter, ending as a sentence does."""
    text = " ".join(text.split())
    return text[:1].lower() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")


def tell(error: BaseException, code: int, message: str, *, debug: bool, as_json: bool) -> None:
    """Write the paragraph (or the JSON document) to standard error; a closed one is no further failure."""
    trace = ""
    if debug:
        import traceback

        trace = "".join(traceback.format_exception(error))
    try:
        if as_json:
            body: dict[str, Any] = {"code": code, "message": message}
            if trace:
                body["traceback"] = trace
            click.echo(json.dumps({"error": body}), err=True)
            return
        if isinstance(error, click.exceptions.NoArgsIsHelpError):
            click.echo(error.format_message(), err=True)
            return
        if trace:
            click.echo(trace, err=True, nl=False)
        heading = click.style("error:", fg="red", bold=True)
        click.echo(f"{heading} {output.safe(message)}", err=True, color=colour())
    except OSError:
        silence_output()


def colour() -> bool | None:
    """False where colour is unwanted everywhere; None leaves it to whether the stream is a terminal."""
    return False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None


@contextmanager
def own_warnings() -> Iterator[None]:
    """Print what libraries and the engine warn of as our own lines, without file names and line numbers."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        output.warn(str(message))

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def flush_output() -> None:
    """Write out what is buffered now: failing while the interpreter shuts down would go untold."""
    # A process started with standard output closed has none.
    if sys.stdout is not None:
        sys.stdout.flush()


def prepare_output() -> None:
    """Make standard output write everything or fail, and escape what the locale cannot print.

    With PYTHONUNBUFFERED Python writes to the file itself, and a write that a full disk or a closed
    pipe cut short goes unnoticed.
    """
    raw = getattr(sys.stdout, "buffer", None)
    if isinstance(raw, io.RawIOBase):
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(raw), encoding=sys.stdout.encoding, line_buffering=True
        )
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def silence_output() -> None:
    """Send what is left in the buffers nowhere: the interpreter flushes once more when it ends."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())
    except (OSError, ValueError):
        # A stream that is no file (a test's) has nothing to flush.
        return
