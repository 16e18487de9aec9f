"""A byte stream with lookahead: what the parsers of the header and of the armor read from."""

from __future__ import annotations

from typing import Protocol


class ByteSource(Protocol):
    """Where ciphertext comes from: a file, a pipe, a download."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; b"" at the end and only there."""
        ...


class BufferedSource:
    """Wraps a source so that a parser can look before it takes, and can read a line without taking what follows."""

    _BLOCK = 16 * 1024

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._ahead = b""
        self.position = 0  # bytes handed out so far

    def peek(self, size: int) -> bytes:
        """Return the next `size` bytes without taking them; fewer only where the source ends."""
        while len(self._ahead) < size:
            more = self._source.read(max(size - len(self._ahead), self._BLOCK))
            if not more:
                break
            self._ahead += more
        return self._ahead[:size]

    def read(self, size: int) -> bytes:
        """Take the next `size` bytes; fewer only where the source ends."""
        taken, self._ahead = self._ahead[:size], self._ahead[size:]
        if len(taken) < size:
            taken = self._read_on(taken, size)
        self.position += len(taken)
        return taken

    def _read_on(self, taken: bytes, size: int) -> bytes:
        pieces, missing = [taken] if taken else [], size - len(taken)
        while missing and (more := self._source.read(missing)):
            pieces.append(more)
            missing -= len(more)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)  # mostly one, and it is large

    def read_line(self, limit: int) -> bytes:
        """Take everything up to and including the next LF, at most `limit` bytes.

        Without an LF at the end of the result, the source ended or the line is longer than `limit`.
        """
        window = 128
        while b"\n" not in (seen := self.peek(min(window, limit))) and len(seen) == window:
            window *= 2
        end = seen.find(b"\n")
        return self.read(len(seen) if end < 0 else end + 1)
