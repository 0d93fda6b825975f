"""The wire between the service and a platform's server: bytes pass, until they are made to suffer.

It lies outside both, so that what is damaged on the way was carried out all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Literal
from urllib.parse import urlsplit

Damage = Literal["truncated", "malformed"]

PIECE: Final = 1 << 16


class Wire:
    """A TCP relay on a port of its own. `url` is where the service finds the server."""

    def __init__(self, server_url: str) -> None:
        parts = urlsplit(server_url)
        self._host, self._port = parts.hostname or "", parts.port or 0
        self.url = ""
        self._next: list[tuple[Damage, str]] = []
        self._open: set[asyncio.StreamWriter] = set()

    def damage(self, how: Damage, request: str) -> None:
        """Damage the next answer to a request whose first line has `request` in it."""
        self._next.append((how, request))

    def heal(self) -> None:
        """Damage nothing that has not been damaged yet."""
        self._next.clear()

    def cut(self) -> None:
        """Break every connection that is open."""
        for writer in list(self._open):
            writer.transport.abort()

    @asynccontextmanager
    async def laid(self) -> AsyncIterator[Wire]:
        """Relay inside the block."""
        listener = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            listener.close()
            self.cut()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._host, self._port)
        pair = _Connection(self._next)
        self._open |= {writer, back}
        try:
            await asyncio.gather(_pass_on(reader, back, pair.request), _pass_on(there, writer, pair.answer))
        finally:
            for end in (writer, back):
                self._open.discard(end)
                end.transport.abort()


class _Connection:
    """What one connection is being used for: requests one after the other, each with its answer."""

    def __init__(self, damages: list[tuple[Damage, str]]) -> None:
        self._damages = damages
        self._request = ""
        self._malforming = False

    def request(self, piece: bytes) -> bytes:
        """Pass on what the service sends."""
        first, _, _ = piece.partition(b"\r\n")
        if first.endswith(b"HTTP/1.1"):
            self._request, self._malforming = first.decode(errors="replace"), False
        return piece

    def answer(self, piece: bytes) -> bytes:
        """Pass on what the server answers, damaged where that is due. Raises ConnectionResetError."""
        if not self._malforming:
            due = next((one for one in self._damages if one[1] in self._request), None)
            if due is None:
                return piece
            self._damages.remove(due)
            if due[0] == "truncated":
                raise _Truncated(piece[: len(piece) * 3 // 4])
            self._malforming = True
        head, end, body = piece.rpartition(b"\r\n\r\n")
        return head + end + b"<" * len(body)


class _Truncated(ConnectionError):
    """The connection ends after these bytes."""

    def __init__(self, piece: bytes) -> None:
        super().__init__("truncated")
        self.piece = piece


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, through: object) -> None:
    assert callable(through)
    with contextlib.suppress(ConnectionError):
        try:
            while piece := await reader.read(PIECE):
                writer.write(through(piece))
                await writer.drain()
        except _Truncated as error:
            writer.write(error.piece)
            await writer.drain()
        writer.close()
