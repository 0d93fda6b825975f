"""A community's settings are read now and then, and anew once they were changed."""

from __future__ import annotations

import asyncio

from sqlalchemy import event

from bot.chat.communities import FRESH_S, CommunityCache
from bot.questions import Place
from feedback import journal
from feedback.database import Database
from tests.conftest import SQLITE
from tests.engines import engines

GUILD = Place("discord", "1", "", "Gardeners")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def _change(database: Database, persona: str) -> None:
    async with database.session() as session:
        row = await journal.community(session, "discord", "1")
        row.persona = persona
        session.add(row)


@SQLITE
async def test_a_change_elsewhere_takes_effect_within_half_a_minute(database: Database) -> None:
    clock = Clock()
    cache = CommunityCache(database, clock)
    assert (await cache.settings(GUILD)).persona == ""
    await _change(database, "Be brief.")
    clock.now += FRESH_S - 1
    assert (await cache.settings(GUILD)).persona == ""
    clock.now += 1
    assert (await cache.settings(GUILD)).persona == "Be brief."


@SQLITE
async def test_a_change_that_is_known_takes_effect_at_once(database: Database) -> None:
    cache = CommunityCache(database)
    await cache.settings(GUILD)
    await _change(database, "Be brief.")
    cache.forget("1")
    assert (await cache.settings(GUILD)).persona == "Be brief."


@SQLITE
async def test_a_crowd_at_once_reads_the_record_once(database: Database) -> None:
    cache = CommunityCache(database)
    await cache.settings(GUILD)
    cache.forget("1")
    asked: list[str] = []
    for engine in engines(database):
        event.listen(engine, "before_cursor_execute", lambda *call: asked.append(str(call[2])))
    await cache.settings(GUILD)
    once = len(asked)
    cache.forget("1")
    await asyncio.gather(*(cache.settings(GUILD) for _ in range(100)))
    assert len(asked) == 2 * once
