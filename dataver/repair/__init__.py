"""Repair: what is damaged is made whole from what there is, here or elsewhere; nothing is deleted."""

from dataver.repair.report import RepairReport as RepairReport
from dataver.repair.run import repair as repair
