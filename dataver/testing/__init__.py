"""Tools for testing dataver and what is built upon it: stores that count, fail or are slow, and simulations.

A simulation is made of a `schedule` of actors of which one runs at a time, `machines` with wrong clocks, and
a `simulated` store; the same seed gives the same run. `store_contract` needs pytest; nothing here is
imported by the rest of dataver.
"""
