"""Writing down what happens: once, completely, and the same when delivered twice or at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlmodel import select

from feedback import journal
from feedback.database import Database
from feedback.errors import NotFound
from feedback.journal import Answered
from feedback.tables import Audit, Community, Member, Turn, Vote
from tests.chronicle import ANSWER, Chronicle


async def test_a_community_is_made_on_first_sight_and_found_afterwards(database: Database) -> None:
    async with database.session() as session:
        first = await journal.community(session, "discord", "1", name="Old name")
    async with database.session() as session:
        again = await journal.community(session, "discord", "1", name="New name")
        nameless = await journal.community(session, "discord", "1")
        other = await journal.community(session, "telegram", "1")
    assert first.id == again.id == nameless.id != other.id
    assert (again.name, again.training_allowed) == ("New name", False)


async def test_one_member_and_conversation_come_of_many_first_sights_at_once(chronicle: Chronicle) -> None:
    async def see() -> tuple[int | None, int | None]:
        async with chronicle.database.session() as session:
            member = await journal.member(session, "discord", "ada")
            talk = await journal.conversation(session, chronicle.community_id, "new thread")
        return member.id, talk.id

    assert len(set(await asyncio.gather(*(see() for _ in range(8))))) == 1


async def test_a_question_is_kept_with_what_is_known_about_it(chronicle: Chronicle) -> None:
    turn = await chronicle.turn(await chronicle.asked("Why?", mode="tldr", language="pl", held_out=True))
    assert (turn.question, turn.mode, turn.language, turn.state) == ("Why?", "tldr", "pl", "asked")
    assert (turn.review_state, turn.held_out, turn.member_id) == (
        "waiting",
        True,
        await chronicle.member("ada"),
    )


async def test_a_message_delivered_twice_is_one_turn(chronicle: Chronicle) -> None:
    first = await _ask(chronicle, "Why?")
    again = await _ask(chronicle, "Why not?")
    assert (first.is_new, again.is_new) == (True, False)
    assert (again.turn.id, again.turn.question) == (first.turn.id, "Why?")


async def test_a_message_delivered_many_times_at_once_is_one_turn(chronicle: Chronicle) -> None:
    asked = await asyncio.gather(*(_ask(chronicle, "Why?") for _ in range(8)))
    assert [one.is_new for one in asked].count(True) == 1
    assert len({one.turn.id for one in asked}) == 1


async def test_an_answer_is_kept_with_where_it_came_from(chronicle: Chronicle) -> None:
    answer = Answered(
        answer="Because.",
        mode="code",
        language="pl",
        base_model="base",
        base_revision="abc",
        prompt_fingerprint="f00d",
        prompt_tokens=10,
        answer_tokens=2,
        first_token_s=0.5,
        total_s=1.5,
    )
    turn = await chronicle.turn(await chronicle.answered(answer=answer))
    assert turn.model_dump(include=set(Answered.__annotations__)) == answer.__dict__
    assert turn.state == "answered"
    assert turn.answered_at is not None


async def test_an_answer_recorded_twice_stays_the_first(chronicle: Chronicle) -> None:
    turn_id = await chronicle.answered()
    before = await chronicle.turn(turn_id)
    async with chronicle.database.session() as session:
        await journal.record_answer(session, turn_id, Answered("Another.", "tldr", "en", "other"))
        await journal.record_failure(session, turn_id, "ref")
        await journal.record_cancelled(session, turn_id, "half")
    assert await chronicle.turn(turn_id) == before


async def test_a_failure_keeps_the_reference_and_a_retry_may_still_answer(chronicle: Chronicle) -> None:
    turn_id = await chronicle.asked()
    async with chronicle.database.session() as session:
        failed = await journal.record_failure(session, turn_id, "ref-1")
        assert (failed.state, failed.error_reference) == ("failed", "ref-1")
        assert (await journal.record_answer(session, turn_id, ANSWER)).state == "answered"


async def test_a_cancelled_answer_keeps_what_there_was(chronicle: Chronicle) -> None:
    turn_id = await chronicle.asked()
    async with chronicle.database.session() as session:
        await journal.record_cancelled(session, turn_id, "Half an")
    turn = await chronicle.turn(turn_id)
    assert (turn.state, turn.answer) == ("cancelled", "Half an")


@pytest.mark.parametrize("write", [journal.record_failure, journal.record_cancelled])
async def test_writing_to_a_turn_that_does_not_exist_says_so(chronicle: Chronicle, write: Any) -> None:
    with pytest.raises(NotFound, match="There is no turn 404"):
        async with chronicle.database.session() as session:
            await write(session, 404, "x")


async def test_history_is_the_last_answered_turns_of_the_conversation_oldest_first(
    chronicle: Chronicle,
) -> None:
    turns = [await chronicle.answered(f"Question {number}") for number in range(4)]
    await chronicle.asked("Never answered")
    async with chronicle.database.session() as session:
        other = await journal.conversation(session, chronicle.community_id, "other")
    await chronicle.answered("Elsewhere", conversation_id=other.id)
    now = await chronicle.asked("Now")
    async with chronicle.database.session(read_only=True) as session:
        earlier = await journal.history(session, chronicle.conversation_id, now, limit=3)
        assert await journal.history(session, chronicle.conversation_id, now, limit=0) == []
        assert await journal.history(session, chronicle.conversation_id, turns[0], limit=3) == []
    assert [turn.id for turn in earlier] == turns[1:]


async def test_an_audit_entry_says_who_did_what_to_what(database: Database) -> None:
    async with database.session() as session:
        journal.audit(session, "mo", "adapter.switch", "community 1", to="support@3")
    async with database.session() as session:
        entry = (await session.exec(select(Audit))).one()
    assert (entry.actor, entry.action, entry.subject) == ("mo", "adapter.switch", "community 1")
    assert entry.detail == {"to": "support@3"}


async def test_the_record_holds_one_row_a_thing_after_everything_came_twice(chronicle: Chronicle) -> None:
    for _ in range(2):
        asked = await _ask(chronicle, "Why?")
        assert asked.turn.id is not None
        async with chronicle.database.session() as session:
            await journal.record_answer(session, asked.turn.id, ANSWER)
        await chronicle.vote(asked.turn.id, 1)
        chronicle.members.clear()
    async with chronicle.database.session(read_only=True) as session:
        sizes = [len((await session.exec(select(table))).all()) for table in (Community, Member, Turn, Vote)]
    assert sizes == [1, 2, 1, 1]


async def _ask(chronicle: Chronicle, question: str) -> journal.Asked:
    async with chronicle.database.session() as session:
        member = await journal.member(session, "discord", "ada")
        return await journal.ask(
            session,
            community_id=chronicle.community_id,
            conversation_id=chronicle.conversation_id,
            member_id=member.id,
            external_id="the same message",
            question=question,
            mode="default",
            language="en",
        )
