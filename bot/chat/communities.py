"""The settings of communities, read from the record now and then rather than for every message."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from bot.access.actor import Actor
from bot.chat.keyed_lock import KeyedLock
from bot.commands import settings
from bot.commands.settings import Changes, CommunitySettings
from bot.questions import Place
from feedback.database import Database

FRESH_S: Final = 30.0
"""How long settings are used before they are read again: what the console changes takes effect after that."""


class CommunityCache:
    """The settings of one platform's communities, at most `FRESH_S` old. `clock` gives seconds."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._known: dict[str, tuple[float, CommunitySettings]] = {}
        self._reading = KeyedLock()

    async def settings(self, place: Place) -> CommunitySettings:
        """The settings of the community at `place`, which is recorded on first sight."""
        async with self._reading.of(place.community):  # a raid's hundred messages read once
            known = self.known(place)
            if known is None:
                known = await settings.view(self._database, place)
                self.note(place, known)
        return known

    def known(self, place: Place) -> CommunitySettings | None:
        """The settings if they are still fresh; None when they have to be read."""
        until, known = self._known.get(place.community, (0.0, None))
        return known if until > self._clock() else None

    def own_channels_as_last_read(self, place: Place) -> tuple[str, ...]:
        """The community's own channels, however long ago that was read: for when the record is away."""
        _, known = self._known.get(place.community, (0.0, None))
        return known.own_channels if known else ()

    def note(self, place: Place, settings: CommunitySettings) -> None:
        """Use settings that were read along with something else."""
        self._known[place.community] = (self._clock() + FRESH_S, settings)

    async def change(self, place: Place, changes: Changes, *, by: Actor) -> CommunitySettings:
        """Change settings; they count at once. Raises as `bot.commands.settings.change`."""
        changed = await settings.change(self._database, place, changes, by=by)
        self.forget(place.community)
        return changed

    def forget(self, community: str) -> None:
        """Read that community's settings again next time: they were changed."""
        self._known.pop(community, None)
