"""The command line: `dataver VERB …`. One verb a file; `root` holds the program itself."""

from dataver.cli.root import PROGRAM, VERBS, main

__all__ = ["PROGRAM", "VERBS", "main"]
