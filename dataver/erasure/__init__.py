"""Erasure: the bytes of a file go from every object at once, and never come back; what named them stays."""

from dataver.erasure.report import EraseReport as EraseReport
from dataver.erasure.run import erase as erase
