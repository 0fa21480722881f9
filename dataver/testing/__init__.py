"""Tools for testing dataver and what is built upon it: stores that count, fail or are slow.

`store_contract` needs pytest; nothing here is imported by the rest of dataver.
"""
