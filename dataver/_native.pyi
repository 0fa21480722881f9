# The compiled part. What each function promises stands in `dataver.source.batch`.

from collections.abc import Sequence

from typing_extensions import Buffer

from dataver.source.base import SourceFile

def list_folder(descriptor: int, /) -> tuple[list[bytes], list[bytes], list[bytes], list[bytes]]: ...
def read_files(prefix: bytes, files: Sequence[SourceFile], buffer: memoryview, /) -> tuple[bytes, bytes]: ...
def write_files(
    folder: int, part: bytes, files: Sequence[tuple[bytes, bool, bytes, Buffer]], unnamed: bool = True, /
) -> tuple[list[bytes], int]: ...
def blake3(data: Buffer, /) -> bytes: ...
