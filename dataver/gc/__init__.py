"""Garbage collection: what nothing refers to is marked, and after a grace deleted, through the log."""

from dataver.gc.report import GcReport as GcReport
from dataver.gc.run import collect as collect
from dataver.gc.run import restore as restore
