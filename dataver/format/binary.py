"""Reading and writing the primitive values that every object of the format is made of."""

from __future__ import annotations

import struct
from typing import NoReturn

from dataver.errors import DamagedError

Buffer = bytes | bytearray | memoryview


class Writer:
    """Appends little-endian values to a growing buffer."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[Buffer] = []

    def u8(self, value: int) -> Writer:
        """One byte, 0 to 255."""
        self._parts.append(struct.pack("<B", value))
        return self

    def u16(self, value: int) -> Writer:
        """Two bytes, unsigned."""
        self._parts.append(struct.pack("<H", value))
        return self

    def u32(self, value: int) -> Writer:
        """Four bytes, unsigned."""
        self._parts.append(struct.pack("<I", value))
        return self

    def u64(self, value: int) -> Writer:
        """Eight bytes, unsigned."""
        self._parts.append(struct.pack("<Q", value))
        return self

    def i64(self, value: int) -> Writer:
        """Eight bytes, two's complement."""
        self._parts.append(struct.pack("<q", value))
        return self

    def raw(self, value: Buffer) -> Writer:
        """Bytes whose length the reader knows."""
        self._parts.append(value)
        return self

    def blob(self, value: Buffer) -> Writer:
        """A u32 length, then so many bytes."""
        return self.u32(len(value)).raw(value)

    def text(self, value: str) -> Writer:
        """UTF-8 as a blob."""
        return self.blob(value.encode())

    def finish(self) -> bytes:
        """Everything written so far."""
        return b"".join(self._parts)


class Reader:
    """Takes values from a buffer; every length is checked before anything is allocated.

    `what` names the object in errors.
    """

    __slots__ = ("_data", "_offset", "what")

    def __init__(self, data: Buffer, what: str) -> None:
        self._data = memoryview(data)
        self._offset = 0
        self.what = what

    @property
    def remaining(self) -> int:
        """Bytes not taken yet."""
        return len(self._data) - self._offset

    def fail(self, reason: str) -> NoReturn:
        """Raise the error that says this object is malformed, and why."""
        raise DamagedError(f"{self.what} is malformed: {reason}")

    def raw(self, length: int) -> bytes:
        """Exactly `length` bytes."""
        if length > self.remaining:
            self.fail(f"{length} bytes are announced where {self.remaining} are left")
        start = self._offset
        self._offset = start + length
        return self._data[start : self._offset].tobytes()

    def u8(self) -> int:
        """One byte."""
        return self.raw(1)[0]

    def u16(self) -> int:
        """Two bytes, unsigned."""
        return int.from_bytes(self.raw(2), "little")

    def u32(self) -> int:
        """Four bytes, unsigned."""
        return int.from_bytes(self.raw(4), "little")

    def u64(self) -> int:
        """Eight bytes, unsigned."""
        return int.from_bytes(self.raw(8), "little")

    def i64(self) -> int:
        """Eight bytes, two's complement."""
        return int.from_bytes(self.raw(8), "little", signed=True)

    def blob(self) -> bytes:
        """A u32 length, then so many bytes."""
        return self.raw(self.u32())

    def text(self) -> str:
        """A blob that is UTF-8."""
        data = self.blob()
        try:
            return data.decode()
        except UnicodeDecodeError:
            self.fail("a text is not UTF-8")

    def u32s(self, count: int) -> tuple[int, ...]:
        """`count` unsigned 32-bit values."""
        return struct.unpack(f"<{count}I", self.raw(4 * count))

    def expect(self, constant: bytes, name: str) -> None:
        """Take a constant, such as a magic."""
        if self.raw(len(constant)) != constant:
            self.fail(f"the {name} is not the one of this kind of object")

    def end(self) -> None:
        """Nothing may follow."""
        if self.remaining:
            self.fail(f"{self.remaining} bytes follow its end")
