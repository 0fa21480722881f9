"""Splits of a table's rows: canonical keys, definitions, and which rows belong to which part."""
