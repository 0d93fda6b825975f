"""A member's vote: one each, changed and taken back, never across communities, and a thumb counts once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from sqlmodel import col, select

from bot.commands import voting
from bot.core import Core
from bot.questions import Place
from feedback import incoming
from feedback.database import Database
from feedback.errors import NotFound
from feedback.incoming import Incoming
from feedback.tables import Community, Vote
from tests.bot.assembly import core_of
from tests.chronicle import Chronicle

PLACE = Place("discord", "guild", "thread", "A guild")


@pytest.fixture
def core(database: Database, tmp_path: Path) -> Core:
    return core_of(database, tmp_path)


async def votes(database: Database) -> list[tuple[int, str]]:
    async with database.session(read_only=True) as session:
        return [(vote.value, vote.reason) for vote in await session.exec(select(Vote).order_by(col(Vote.id)))]


async def test_a_member_votes_once_may_change_it_and_take_it_back(core: Core, chronicle: Chronicle) -> None:
    turn_id = await chronicle.answered()
    given = await voting.vote(core, PLACE, "ben", turn_id, 1)
    assert (given.before, given.after, given.changed) == (0, 1, True)
    again = await voting.vote(core, PLACE, "ben", turn_id, 1)
    assert (again.before, again.after, again.changed) == (1, 1, False)
    await voting.vote(core, PLACE, "cyd", turn_id, 1)
    changed = await voting.vote(core, PLACE, "ben", turn_id, -1, reason="tone")
    assert (changed.before, changed.after) == (1, -1)
    assert await votes(core.database) == [(-1, "tone"), (1, "")]
    assert not await voting.take_back(core, PLACE, "ben", turn_id, 1)
    assert await voting.take_back(core, PLACE, "ben", turn_id, -1)
    assert await votes(core.database) == [(1, "")]


async def test_one_member_in_many_clicks_at_once_has_one_vote(core: Core, chronicle: Chronicle) -> None:
    turn_id = await chronicle.answered()
    await asyncio.gather(*(voting.vote(core, PLACE, "ben", turn_id, 1) for _ in range(6)))
    assert await votes(core.database) == [(1, "")]


async def test_a_vote_from_another_community_is_refused_and_leaves_no_trace(
    core: Core, chronicle: Chronicle
) -> None:
    turn_id = await chronicle.answered()
    for place in (replace(PLACE, community="other"), replace(PLACE, platform="telegram")):
        with pytest.raises(NotFound, match="another community"):
            await voting.vote(core, place, "ben", turn_id, 1)
    with pytest.raises(NotFound, match="There is no turn 999"):
        await voting.vote(core, PLACE, "ben", 999, 1)
    assert await votes(core.database) == []
    async with core.database.session(read_only=True) as session:
        assert [row.external_id for row in await session.exec(select(Community))] == ["guild"]


async def test_a_thumb_that_is_delivered_again_takes_no_vote_back(core: Core, chronicle: Chronicle) -> None:
    turn_id = await chronicle.answered()
    async with core.database.session() as session:
        await incoming.store(session, "discord", [Incoming("11", "tap"), Incoming("12", "tap")])
    for _ in range(2):
        assert (await voting.press_thumb(core, PLACE, "ben", turn_id, 1, update="11")).after == 1
    assert (await voting.press_thumb(core, PLACE, "ben", turn_id, 1, update="12")).after == 0
    assert not (await voting.press_thumb(core, PLACE, "ben", turn_id, 1, update="12")).changed
