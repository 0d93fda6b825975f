"""Open sessions as the console's requests meet them: looked up briefly remembered, cut off when they end."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from bot.access import sign_in
from bot.access.sign_in import SignedIn
from bot.core import Core

SESSION_COOKIE: Final = "thumbloop_session"
REMEMBERED_S: Final = 5.0
"""How long a lookup holds: a page asks for dozens of files at once. A session that was ended elsewhere, by
another process or the command line, is cut off within this time."""


class Sessions:
    """Who is signed in, and which sockets are open for whom; a lookup holds for `remembered_s`."""

    def __init__(self, core: Core, *, remembered_s: float = REMEMBERED_S) -> None:
        self._core = core
        self._remembered_s = remembered_s
        self._known: dict[str, tuple[float, SignedIn]] = {}
        self._sockets: dict[int, set[asyncio.Event]] = defaultdict(set)

    async def find(self, token: str) -> SignedIn | None:
        """Who that token signs in, while their session lasts."""
        clock = asyncio.get_running_loop().time()
        until, known = self._known.get(token, (0.0, None))
        if known is not None and clock < until:
            return known
        somebody = await sign_in.signed_in(self._core, token)
        if somebody is not None:
            self._known[token] = (clock + self._remembered_s, somebody)
        elif known is not None:
            self._cut_off(token, known)
        return somebody

    @contextmanager
    def socket_of(self, somebody: SignedIn) -> Iterator[asyncio.Event]:
        """For as long as a socket of theirs is open: what is set when their session ends."""
        ended = asyncio.Event()
        sockets = self._sockets[somebody.session_id]
        sockets.add(ended)
        try:
            yield ended
        finally:
            sockets.discard(ended)
            if not sockets:
                self._sockets.pop(somebody.session_id, None)

    async def keep_watching(self) -> None:
        """Cut off sessions that have ended, wherever that was done; ends only when it is cancelled."""
        while True:
            await asyncio.sleep(self._remembered_s)
            await self.cut_off_ended()

    async def cut_off_ended(self) -> None:
        """Close the sockets of sessions that do not last any more, and forget who they were."""
        for token, (_, somebody) in list(self._known.items()):
            if not await sign_in.lasts(self._core, token):
                self._cut_off(token, somebody)

    def _cut_off(self, token: str, somebody: SignedIn) -> None:
        self._known.pop(token, None)
        for ended in self._sockets.get(somebody.session_id, ()):
            ended.set()
