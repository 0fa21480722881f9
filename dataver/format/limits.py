"""The hard limits of format v1. A repository's settings choose below them, readers refuse above."""

CHUNK_BYTES_MAX = 4 << 20
FRAME_BYTES_MAX = 8 << 20
NODE_BYTES_MAX = 8 << 20
OBJECT_BYTES_MAX = 64 << 20

PATH_BYTES_MAX = 65_535
NODE_KEYS_BYTES_MAX = (1 << 20) + PATH_BYTES_MAX
"""All keys of a node, spelled out: the split rule ends a node at 1 MiB, with the key that reaches it."""
REFERENCE_URL_BYTES_MAX = 2048
REFERENCE_ETAG_BYTES_MAX = 256

VERSION_TEXTS_BYTES_MAX = 1 << 20
"""Message and metadata of one version, in UTF-8."""
PROVENANCE_BYTES_MAX = 1 << 20
"""What the record of one version says of where its data came from."""
TIME_US_MIN = -62_135_596_800_000_000
TIME_US_MAX = 253_402_300_799_999_999
"""The times of the years 1 to 9999, UTC, in microseconds since 1970: those that RFC 3339 can spell."""

STATE_KEY_BYTES_MAX = 4096
STATE_VALUE_BYTES_MAX = 1 << 20

ENVELOPE_BYTES_MAX = 8192
"""A signature with what it signs."""
