"""Measurements of dataver beside other tools, on data made here.

Not part of the package, and no test: nothing here passes or fails.
"""
