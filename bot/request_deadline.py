"""A connection whose request does not arrive in time is closed.

uvicorn's own limit, `timeout_keep_alive`, begins after a response and ends at the next byte: whoever sends
nothing, or half a request, keeps a connection for good. A request's head must be here within `HEAD_S`, and
its body never pause for longer than `BODY_PAUSE_S`. How long an answer takes is not limited here.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

HEAD_S: Final = 20.0
BODY_PAUSE_S: Final = 30.0


def deadline_protocol() -> type[asyncio.Protocol]:
    """uvicorn's HTTP protocol with those limits."""
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

    class DeadlineProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
        # whichever of uvicorn's two it is, `cycle` is the request under way, `flow` its back pressure
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self._deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self._wait(HEAD_S)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.transport.get_protocol() is not self:  # a websocket now, which pings
                self._cancel()
            elif self._lacks_body():
                self._cancel()
                self._wait(BODY_PAUSE_S)
            elif self.cycle is None or self.cycle.response_complete:
                self._wait(HEAD_S)
            else:
                self._cancel()

        def connection_lost(self, error: Exception | None) -> None:
            self._cancel()
            super().connection_lost(error)

        def _lacks_body(self) -> bool:
            return self.cycle is not None and self.cycle.more_body and not self.cycle.response_complete

        def _wait(self, seconds: float) -> None:
            """Close the connection then; a deadline that is set already stays."""
            if self._deadline is None:
                self._deadline = asyncio.get_running_loop().call_later(seconds, self._over)

        def _cancel(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _over(self) -> None:
            self._deadline = None
            if self._lacks_body() and self.flow.read_paused:  # we are slow, not they
                self._wait(BODY_PAUSE_S)
            elif self._lacks_body() or self.cycle is None or self.cycle.response_complete:
                self.transport.close()

    return DeadlineProtocol
