"""Bytes to values and back: packs, index segments, tree nodes, versions, log entries.

Pure: no input or output, no clock, no configuration. `docs/reference/format-v1.md` is the
normative text; everything here is little-endian and fails with `DamagedError` on bytes that are
not of the format, after checking each count against the bytes that are there.
"""
