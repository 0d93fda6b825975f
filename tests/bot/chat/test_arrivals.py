"""What the record says about a message that has just arrived, in one transaction."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.assistant import Place
from bot.chat.arrivals import Arrival, look_up, settings_or_arrival
from bot.chat.context import ChatContext
from feedback import journal, open_questions
from feedback.database import Database
from feedback.journal import Answered
from tests.bot.assembly import Assembly
from tests.conftest import SQLITE
from tests.doubles.retrainer import Retrainer
from tests.doubles.tiny_model import write_tiny_model
from tests.transactions import counted

HERE = Place("telegram", "-100", "", "Gardeners")


@pytest.fixture
async def context(database: Database, tmp_path: Path) -> ChatContext:
    assembly = Assembly(database, tmp_path, write_tiny_model(tmp_path / "tiny"))
    return ChatContext(core=assembly.core, assistant=assembly.assistant, retraining=Retrainer())


async def _ask(database: Database, external_id: str, *, answered: bool = True) -> int:
    async with database.session() as session:
        community = await journal.community(session, HERE.platform, HERE.community)
        talk = await journal.conversation(session, community.id or 0, "talk")
        asked = await journal.ask(
            session,
            community_id=community.id or 0,
            conversation_id=talk.id or 0,
            member_id=None,
            external_id=external_id,
            question="How?",
            mode="default",
            language="en",
        )
        turn_id = asked.turn.id or 0
        if answered:
            await journal.record_answer(session, turn_id, Answered("So.", "default", "en", "tiny"))
            await journal.note_message(session, asked.turn, f"{external_id}-answer")
        return turn_id


@SQLITE
async def test_a_new_message_is_wanted_and_belongs_to_the_conversation_that_it_replies_to(
    database: Database, context: ChatContext
) -> None:
    for number in ("1", "2"):
        await _ask(database, number)
    for replied_to in ("1", "1-answer"):
        with counted(database) as transactions:
            found = await look_up(context, HERE, "3", replied_to=replied_to, answers_up_to=5)
        assert (found.wanted, found.conversation, found.answers, transactions.begun) == (True, "talk", 2, 1)
    elsewhere = await look_up(context, HERE, "3", replied_to="what nobody asked")
    assert (elsewhere.wanted, elsewhere.conversation) == (True, None)


@SQLITE
async def test_a_message_that_had_its_answer_is_wanted_only_while_somebody_waits(
    database: Database, context: ChatContext
) -> None:
    turn_id = await _ask(database, "1")
    assert not (await look_up(context, HERE, "1")).wanted
    async with database.session() as session:
        await open_questions.keep(session, turn_id, asker="7", shown_in={})
    assert (await look_up(context, HERE, "1")).wanted


@SQLITE
async def test_where_nothing_was_ever_asked_a_message_is_wanted_under_what_is_set_for_everybody(
    context: ChatContext,
) -> None:
    found = await look_up(context, HERE, "1", replied_to="0")
    assert (found.wanted, found.conversation, found.community.language) == (True, None, "auto")
    assert context.communities.known(HERE) is None


@SQLITE
async def test_settings_that_are_known_cost_no_look_at_the_record(
    database: Database, context: ChatContext
) -> None:
    await _ask(database, "1")

    async def look() -> Arrival:
        return await look_up(context, HERE, "2")

    _, arrival = await settings_or_arrival(context, HERE, look)
    assert arrival is not None
    with counted(database) as transactions:
        settings, again = await settings_or_arrival(context, HERE, look)
    assert (settings, again, transactions.begun) == (arrival.community, None, 0)
