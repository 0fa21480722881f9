# The compiled part. What each function promises stands in `dataver.source.batch`, `dataver.targets`,
# `dataver.chunking.fastcdc`, `dataver.format.segment` and `dataver.hashing`.

from collections.abc import Sequence

from typing_extensions import Buffer

from dataver.source.base import SourceFile

def list_folder(descriptor: int, /) -> tuple[list[bytes], list[bytes], list[bytes], list[bytes]]: ...
def read_files(prefix: bytes, files: Sequence[SourceFile], buffer: memoryview, /) -> tuple[bytes, bytes]: ...
def write_files(
    folder: int,
    part: bytes,
    files: Sequence[tuple[bytes, bool, bytes, Buffer]],
    unnamed: bool = True,
    replace: bool = True,
    /,
) -> tuple[list[bytes], int]: ...
def digests(buffers: Sequence[Buffer], /) -> bytes: ...
def same(a: Buffer, b: Buffer, /) -> bool: ...
def is_fast() -> bool: ...
def find(keys: Buffer, fanout: Buffer, digests: Buffer, /) -> list[int]: ...
def places(
    rows: Buffer, frames: Buffer, packs: Buffer, positions: list[int], /
) -> list[tuple[bytes, int, int, int, int, int, int]]: ...
def cut(
    data: Buffer,
    gear: Buffer,
    bytes_min: int,
    bytes_average: int,
    bytes_max: int,
    mask_strict: int,
    mask_loose: int,
    /,
) -> list[int]: ...
