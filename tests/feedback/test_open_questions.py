"""Open questions, what platforms remember, and what they deliver."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlmodel import select

from feedback import consent, incoming, journal, open_questions, platform_state
from feedback.database import Database
from feedback.incoming import Incoming
from feedback.open_questions import Waiting
from feedback.tables import IncomingUpdate, OpenQuestion, now
from tests.chronicle import Chronicle


async def _keep(database: Database, turn_id: int, asker: str = "1001", **where: Any) -> None:
    async with database.session() as session:
        await open_questions.keep(session, turn_id, asker=asker, shown_in=where)


async def _open(database: Database) -> list[Waiting]:
    async with database.session(read_only=True) as session:
        return await open_questions.all_open(session, "discord")


async def test_an_open_question_is_found_again_with_all_that_is_needed_to_finish_it(
    database: Database, chronicle: Chronicle
) -> None:
    turn_id = await chronicle.asked("When do I plant?")
    await _keep(database, turn_id, channel=7)
    async with database.session() as session:
        await open_questions.note_drawn(session, "discord", "guild", "message-1", ["901", "902"])
    (found,) = await _open(database)
    assert (found.turn.id, found.turn.question, found.conversation) == (turn_id, "When do I plant?", "thread")
    assert (found.asker, found.shown_in, found.drawn) == ("1001", {"channel": 7}, ("901", "902"))
    async with database.session(read_only=True) as session:
        assert await open_questions.all_open(session, "telegram") == []


async def test_keeping_an_open_question_again_forgets_nothing_of_it(
    database: Database, chronicle: Chronicle
) -> None:
    turn_id = await chronicle.asked()
    await _keep(database, turn_id, asker="", channel=7)
    async with database.session() as session:
        await open_questions.note_drawn(session, "discord", "guild", "message-1", ["901"])
    await _keep(database, turn_id, asker="1001", channel=8)
    (found,) = await _open(database)
    assert (found.asker, found.shown_in, found.drawn) == ("1001", {"channel": 7}, ("901",))


async def test_a_question_that_was_dropped_is_open_no_more_whatever_is_drawn(
    database: Database, chronicle: Chronicle
) -> None:
    turn_id = await chronicle.asked()
    await _keep(database, turn_id)
    async with database.session() as session:
        await open_questions.drop(session, "discord", "guild", "message-1")
        await open_questions.note_drawn(session, "discord", "guild", "message-1", ["901"])
    assert await _open(database) == []


async def test_what_nobody_waits_for_is_given_up_unless_it_is_answered(
    database: Database, chronicle: Chronicle
) -> None:
    awaited, alone, answered = await chronicle.asked(), await chronicle.asked(), await chronicle.answered()
    await _keep(database, awaited)
    async with database.session() as session:
        assert await open_questions.give_up(session) == 1
    states = [(await chronicle.turn(turn)).state for turn in (awaited, alone, answered)]
    assert states == ["asked", "cancelled", "answered"]
    async with database.session() as session:
        turn = await journal.record_answer(session, alone, journal.Answered("Hi.", "default", "en", "tiny"))
    assert turn.state == "answered"


async def test_forgetting_a_member_takes_their_open_questions_and_deliveries_along(
    database: Database, chronicle: Chronicle
) -> None:
    theirs, anothers = await chronicle.asked(by="ada"), await chronicle.asked(by="ben")
    for turn_id in (theirs, anothers):
        await _keep(database, turn_id)
    async with database.session() as session:
        delivered = [Incoming("1", '{"text": "mine"}', "ada"), Incoming("2", '{"text": "ours"}', "ben")]
        await incoming.store(session, "discord", delivered)
        await consent.forget(session, chronicle.members["ada"])
    assert [one.turn.id for one in await _open(database)] == [anothers]
    async with database.session(read_only=True) as session:
        assert [one.external_id for one in await incoming.unfinished(session, "discord")] == ["2"]
        assert "mine" not in str((await session.exec(select(IncomingUpdate))).all())


async def test_a_question_that_is_erased_or_expires_is_not_open_any_more(
    database: Database, chronicle: Chronicle
) -> None:
    deleted, expired = await chronicle.asked(), await chronicle.asked()
    for turn_id in (deleted, expired):
        await _keep(database, turn_id)
    async with database.session() as session:
        await consent.erase_turn(session, deleted, actor="member")
        assert len((await session.exec(select(OpenQuestion))).all()) == 1
        await consent.delete_expired(session, now() + timedelta(seconds=1))
    assert await _open(database) == []


async def test_who_asked_is_filled_in_where_a_migration_could_not_know(
    database: Database, chronicle: Chronicle
) -> None:
    turn_id = await chronicle.asked(external_id="m")
    async with database.session() as session:
        (await journal.find_turn(session, turn_id)).member_id = None
    assert await chronicle.asked(by="ada", external_id="m") == turn_id
    assert (await chronicle.turn(turn_id)).member_id == chronicle.members["ada"]


async def test_what_a_platform_remembers_is_replaced(database: Database) -> None:
    async with database.session() as session:
        assert await platform_state.recall(session, "discord", "commands") is None
        for value in ("first", "second"):
            await platform_state.remember(session, "discord", "commands", value)
        assert await platform_state.recall(session, "discord", "commands") == "second"
        assert await platform_state.recall(session, "telegram", "commands") is None


async def test_an_update_is_new_once_however_often_and_in_whatever_order_it_is_delivered(
    database: Database,
) -> None:
    async with database.session() as session:
        assert await incoming.store(session, "telegram", []) == []
        assert await incoming.store(session, "telegram", [Incoming("12", "b"), Incoming("11", "a")]) == [
            "12",
            "11",
        ]
    async with database.session() as session:
        assert await incoming.store(session, "telegram", [Incoming("11", "a"), Incoming("10", "c")]) == ["10"]
        assert [one.payload for one in await incoming.unfinished(session, "telegram")] == ["b", "a", "c"]


async def test_a_finished_update_leaves_its_number_alone_and_is_still_known(database: Database) -> None:
    async with database.session() as session:
        await incoming.store(session, "telegram", [Incoming("11", "words", "ada")])
        await incoming.begin(session, "telegram", "11")
        (begun,) = await incoming.unfinished(session, "telegram")
        assert begun.begun
        assert await incoming.finish(session, "telegram", "11")
        assert not await incoming.finish(session, "telegram", "11"), "once"
        assert await incoming.unfinished(session, "telegram") == []
        (row,) = (await session.exec(select(IncomingUpdate))).all()
        assert (row.payload, row.pseudonym) == ("", "")
        assert await incoming.store(session, "telegram", [Incoming("11", "words", "ada")]) == []


async def test_numbers_of_updates_are_forgotten_once_nobody_delivers_them_again(database: Database) -> None:
    async with database.session() as session:
        await incoming.store(session, "telegram", [Incoming(number, "words") for number in ("1", "2", "3")])
        for number in ("1", "2"):
            await incoming.finish(session, "telegram", number)
        old = (await session.exec(select(IncomingUpdate).where(IncomingUpdate.external_id == "1"))).one()
        old.handled_at = now() - incoming.KNOWN_FOR - timedelta(seconds=1)
        session.add(old)
        await session.flush()
        await incoming.prune(session, "telegram")
        kept = (await session.exec(select(IncomingUpdate.external_id))).all()
    assert sorted(kept) == ["2", "3"]
