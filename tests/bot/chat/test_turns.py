"""A turn is found only where it was asked, whatever number somebody gives."""

from __future__ import annotations

import pytest

from bot.chat.turns import turn_asked_by, turn_at, turn_shown_by
from bot.questions import Place
from feedback import journal
from feedback.database import Database
from feedback.errors import NotFound
from tests.conftest import SQLITE

HERE = Place("telegram", "direct", "")
ELSEWHERE = Place("telegram", "-100", "")
NOWHERE = Place("discord", "direct", "")


async def _ask(database: Database, conversation: str = "ada") -> int:
    async with database.session() as session:
        community = await journal.community(session, HERE.platform, HERE.community)
        await journal.community(session, ELSEWHERE.platform, ELSEWHERE.community)
        talk = await journal.conversation(session, community.id or 0, conversation)
        asked = await journal.ask(
            session,
            community_id=community.id or 0,
            conversation_id=talk.id or 0,
            member_id=None,
            external_id="ada-1",
            question="How?",
            mode="default",
            language="en",
        )
        await journal.note_message(session, asked.turn, "ada-2")
        return asked.turn.id or 0


@SQLITE
async def test_a_turn_is_found_in_its_own_community_only(database: Database) -> None:
    turn_id = await _ask(database)
    turn, conversation = await turn_at(database, HERE, turn_id)
    assert (turn.question, conversation) == ("How?", "ada")
    for place in (ELSEWHERE, NOWHERE):
        with pytest.raises(NotFound):
            await turn_at(database, place, turn_id)


@SQLITE
@pytest.mark.parametrize(
    ("conversation", "within", "found"),
    [("ada", "ada", True), ("ada/7", "ada", True), ("ada", "ad", False), ("ada", "ben", False)],
)
async def test_where_a_conversation_is_named_a_turn_outside_of_it_is_not_found(
    database: Database, conversation: str, within: str, found: bool
) -> None:
    turn_id = await _ask(database, conversation)
    place = Place(HERE.platform, HERE.community, within)
    if found:
        assert (await turn_at(database, place, turn_id))[0].id == turn_id
        return
    with pytest.raises(NotFound):
        await turn_at(database, place, turn_id)


@SQLITE
async def test_messages_lead_to_the_turn_that_they_ask_or_show(database: Database) -> None:
    turn_id = await _ask(database)
    shown, asked = await turn_shown_by(database, HERE, "ada-2"), await turn_asked_by(database, HERE, "ada-1")
    assert shown is not None and asked is not None and shown.id == asked.id == turn_id
    assert await turn_shown_by(database, HERE, "ada-1") is None
    assert await turn_asked_by(database, ELSEWHERE, "ada-1") is None
