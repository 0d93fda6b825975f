"""What platforms keep in the record: messages of answers, answers once more, bookmarks, what still waits."""

from __future__ import annotations

from dataclasses import replace

from sqlmodel import select

from feedback import consent, journal
from feedback.database import Database
from feedback.tables import AnswerMessage
from tests.chronicle import ANSWER, Chronicle


async def test_a_message_leads_back_to_its_turn_however_often_it_is_noted(
    database: Database, chronicle: Chronicle
) -> None:
    turn_id = await chronicle.answered()
    for _ in range(2):
        async with database.session() as session:
            turn = await journal.find_turn(session, turn_id)
            for message in ("900", "901"):
                await journal.note_message(session, turn, message)
    async with database.session(read_only=True) as session:
        found = await journal.turn_of_message(session, chronicle.community_id, "901")
        assert found is not None and found.id == turn_id
        assert await journal.turn_of_message(session, chronicle.community_id, "902") is None
        assert await journal.messages_of(session, turn_id) == ["900", "901"]


async def test_forgetting_a_member_takes_the_messages_of_their_answers_along(
    database: Database, chronicle: Chronicle
) -> None:
    theirs, anothers = await chronicle.answered(by="ada"), await chronicle.answered(by="ben")
    async with database.session() as session:
        for turn_id, message in ((theirs, "1"), (anothers, "2")):
            await journal.note_message(session, await journal.find_turn(session, turn_id), message)
        await consent.forget(session, chronicle.members["ada"])
    async with database.session(read_only=True) as session:
        assert [row.external_id for row in (await session.exec(select(AnswerMessage))).all()] == ["2"]


async def test_of_answers_to_one_question_the_newest_stands_in_the_history(
    database: Database, chronicle: Chronicle
) -> None:
    first = await chronicle.answered("Why?", answer=replace(ANSWER, answer="Because."))
    again = [
        await chronicle.answered("Why?", answer=replace(ANSWER, answer=text), regenerates_id=first)
        for text in ("Hence.", "Thus.")
    ]
    later = await chronicle.asked("And then?")
    async with database.session(read_only=True) as session:
        history = await journal.history(session, chronicle.conversation_id, later, limit=5)
        before_the_last = await journal.history(session, chronicle.conversation_id, again[1], limit=5)
        assert await journal.count_regenerated(session, first) == 2
    assert [turn.answer for turn in history] == ["Thus."]
    assert [turn.answer for turn in before_the_last] == ["Hence."]


async def test_a_question_that_failed_can_be_asked_in_other_words_and_an_answered_one_not(
    database: Database, chronicle: Chronicle
) -> None:
    failed, answered = await chronicle.asked("Wat?"), await chronicle.answered("Why?")
    async with database.session() as session:
        await journal.record_failure(session, failed, "abcd")
        await journal.reopen(session, failed, "What?")
        await journal.reopen(session, answered, "Why not?")
    reopened, kept = await chronicle.turn(failed), await chronicle.turn(answered)
    assert (reopened.question, reopened.state, reopened.error_reference) == ("What?", "asked", "")
    assert (kept.question, kept.state) == ("Why?", "answered")


async def test_a_bookmark_moves(database: Database) -> None:
    for seen in ("10", "20"):
        async with database.session() as session:
            await journal.move_bookmark(session, "discord", "channel", seen)
    async with database.session(read_only=True) as session:
        assert await journal.bookmarks(session, "discord") == {"channel": "20"}
        assert await journal.bookmarks(session, "telegram") == {}


async def test_erasing_one_turn_leaves_the_others(database: Database, chronicle: Chronicle) -> None:
    gone, kept = await chronicle.answered("My secret?"), await chronicle.answered("The weather?")
    for _ in range(2):
        async with database.session() as session:
            await consent.erase_turn(session, gone, actor="member")
    erased, other = await chronicle.turn(gone), await chronicle.turn(kept)
    assert (erased.state, erased.question, erased.answer) == ("erased", "", "")
    assert other.question == "The weather?"
