"""The program `dataver` and its verbs.

Only this module and what it names at the top is loaded for `dataver --help`; a verb's module is
imported when that verb is called, and the engine when the verb needs it.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from dataver.cli import faults, interrupt
from dataver.cli.session import Session, global_options

PROGRAM = "dataver"
COMPLETE_VARIABLE = "_DATAVER_COMPLETE"

SETTINGS = {"help_option_names": ["-h", "--help"]}

# Verb -> its line in `dataver --help`. A verb's module is `dataver.cli.<verb>`, with `_` for `-`; its object
# is `command`.
VERBS = {
    "init": "Make a repository.",
    "commit": "Record a folder, a file or a URL as the next version.",
    "status": "Show what changed since the head.",
    "list": "List the datasets and their heads.",
    "log": "List the versions from REF back.",
    "show": "Show one version.",
    "card": "Show what is to be said of a version, on a page.",
    "ls": "List the files and folders of a version.",
    "cat": "Write one file's bytes to standard output.",
    "stats": "Show what the columns of Parquet files hold.",
    "diff": "Show what differs between two versions.",
    "drift": "Show how far columns moved away from those of a baseline.",
    "served": "Show or commit what services have captured on this machine.",
    "checkout": "Write a version's files into a folder.",
    "tag": "Name a version for ever.",
    "alias": "Name a version, and move the name when told to.",
    "branch": "Start a line of versions beside main.",
    "merge": "Bring another line's changes on top of a branch.",
    "revert": "Make a new version with the files of an old one.",
    "rename": "Give a dataset another name.",
    "delete": "Delete a dataset, or bring it back.",
    "run": "Run a command, and record what it read and made.",
    "runs": "List, show and compare runs; record those that wait.",
    "repro": "Do a run again, and compare what it makes.",
    "models": "List the models that runs made.",
    "push": "Copy to another repository what it lacks.",
    "pull": "Copy from another repository what this one lacks.",
    "azureml": "Write jobs of Azure Machine Learning, pinned by digest.",
    "import": "Bring history and names from other tools.",
    "sign": "Vouch for a version or a run with a key.",
    "verify-signature": "Check who signed a version or a run.",
    "trust": "List the keys whose signatures count.",
    "link": "Say after the fact what a run read.",
    "lock": "Pin what names mean in this folder.",
    "split": "Show how the rows of a version are split into parts.",
    "overlap": "Find what two versions or parts both have.",
    "rewrite-parquet": "Write Parquet so that versions share more.",
    "lineage": "Show what something was made of, and what was made of it.",
    "who-used": "Find the runs and models that saw a file or version.",
    "config": "Show or change the settings of the repository.",
    "audit": "Show which data, code and environment made a model.",
    "export": "Hand to another tool, or write as a standard's document.",
    "verify": "Check that every object is there and whole.",
    "repair": "Make whole what is damaged.",
    "gc": "Reclaim what nothing refers to.",
    "prune": "Let old versions go that nobody named.",
    "erase": "Erase the bytes of a file for good.",
    "hold": "Keep a version, whatever else lets it go.",
    "doctor": "Check the environment and the repository; say what to do.",
    "telemetry": "See whether telemetry arrives, and print queries for it.",
    "completion": "Print the completion script of a shell.",
}

EPILOG = """\
REF is DATASET@SELECTOR: iris@v3, iris@latest, iris@paper, iris@main~2, iris@1f0c9a2b; a bare
iris is the head of main. The repository is --repo, else DATAVER_REPO, else the nearest .dataver
folder here or above. `dataver VERB --help` tells more, with an example.
"""


# The arguments that click passes and nobody needs are marked ARG002 below.
class Root(click.Group):
    """The group of all verbs: loads each when it is called, and turns every failure into an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Every verb, in the order of `VERBS`."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the module of a verb; None for what is none."""
        if cmd_name not in VERBS:
            return None
        command = importlib.import_module(f"dataver.cli.{cmd_name.replace('-', '_')}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Say which verb was perhaps meant, where there is none of this name."""
        if args and args[0] not in VERBS and not ctx.resilient_parsing:
            raise click.NoSuchCommand(args[0], possibilities=close_matches(args[0]), ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the verbs from the table, so that no verb's module is loaded for it."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """What a REF is, and which repository is meant."""
        formatter.write_paragraph()
        formatter.write_text(EPILOG)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Complete verbs from the table, options from the command."""
        if incomplete.startswith("-"):
            return click.Command.shell_complete(self, ctx, incomplete)
        from click.shell_completion import CompletionItem

        return [
            CompletionItem(verb, help=text) for verb, text in VERBS.items() if verb.startswith(incomplete)
        ]

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Give every run its own `Session`, and no colour where `NO_COLOR` or a dumb terminal says so."""
        extra.setdefault("obj", Session())
        extra.setdefault("color", faults.colour())
        return super().make_context(info_name, args, parent, **extra)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,  # noqa: ARG002
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run one command line and end with its exit code. Without `args` it is the process's own."""
        instruction = os.environ.get(complete_var or COMPLETE_VARIABLE)
        if instruction:
            from dataver.cli import complete

            sys.exit(complete.answer(self, PROGRAM, COMPLETE_VARIABLE, instruction))
        arguments = list(sys.argv[1:] if args is None else args)
        if not standalone_mode:
            return super().main(arguments, PROGRAM, complete_var, standalone_mode=False, **extra)
        if args is not None:
            sys.exit(faults.run(self, PROGRAM, arguments))
        tune_interpreter()
        faults.prepare_output()
        code = faults.run(self, PROGRAM, arguments)
        interrupt.end_quietly()
        sys.exit(code)


def tune_interpreter() -> None:
    """Settings that suit a short-lived process of many threads that are mostly outside of Python.

    A thread that comes back from hashing or compressing waits for a switch interval where another
    is in Python: with a tenth of the usual 5 ms a commit of Parquet takes a fifth less. Rows of
    files are no garbage, so the collector need not look at each some hundred times, nor once more
    when the process ends.
    """
    sys.setswitchinterval(0.0005)
    gc.set_threshold(50_000, 20, 100)
    atexit.register(gc.freeze)


def close_matches(name: str) -> list[str]:
    """The verbs that `name` may have meant, the likeliest first."""
    from difflib import get_close_matches

    return get_close_matches(name, VERBS)


def print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    """Print the release and stop."""
    if value and not ctx.resilient_parsing:
        import dataver

        click.echo(f"{PROGRAM} {dataver.__version__}")
        ctx.exit()


@click.group(PROGRAM, cls=Root, subcommand_metavar="VERB ...", context_settings=SETTINGS)
@global_options(hidden=False)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=print_version,
    help="Print the release and exit.",
)
def main() -> None:
    """Version datasets: record a folder as an immutable version, get it back byte for byte."""
