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

STATE_KEY_BYTES_MAX = 4096
STATE_VALUE_BYTES_MAX = 1 << 20
