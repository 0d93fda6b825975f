"""What a member may decide: pseudonyms that tell nothing, export, opting out, being forgotten."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import SQLModel, col, select

from feedback import consent, conversations, journal, review, votes
from feedback.database import Database
from feedback.errors import NotFound
from feedback.tables import Audit, Conversation, ForgetRequest, Member, Review, Vote, now
from tests.chronicle import Chronicle

KEY = b"a key of thirty-two bytes, or so"
SECRET = "MARMALADE"
"""A word that stands in everything the forgotten member said and in what was said about it."""


def test_a_pseudonym_is_the_same_for_the_same_user_and_key_only() -> None:
    name = consent.pseudonym("discord", "1234", KEY)
    assert name == consent.pseudonym("discord", "1234", KEY)
    assert (
        len({name, consent.pseudonym("telegram", "1234", KEY), consent.pseudonym("discord", "1234", b"x")})
        == 3
    )
    assert consent.pseudonym("ab", "c", KEY) != consent.pseudonym("a", "bc", KEY)


def test_a_pseudonym_is_32_hex_digits_without_the_id_in_it() -> None:
    name = consent.pseudonym("discord", "1234", KEY)
    assert len(name) == 32
    assert int(name, 16)
    assert "1234" not in consent.pseudonym("discord", "1234" * 8, KEY)


@pytest.mark.parametrize(("forgotten", "voter"), [("ada", "ben"), ("ben", "ben"), ("ada", "ada")])
async def test_a_member_is_forgotten_although_somebody_votes_at_that_moment(
    chronicle: Chronicle, forgotten: str, voter: str
) -> None:
    database, hers = chronicle.database, await chronicle.answered(by="ada")
    await chronicle.vote(hers, -1, by="ben", reason="wrong")
    member, voting = await chronicle.member(forgotten), await chronicle.member(voter)

    async def forget() -> None:
        async with database.session() as session:
            await consent.forget(session, member)

    async with database.session() as session:
        await journal.locked_turn(session, hers)
        forgetting = asyncio.create_task(forget())
        while not database.is_sqlite and not await _somebody_waits(database):
            pass
        await votes.vote(session, turn_id=hers, member_id=voting, value=-1, reason="tone")
    await forgetting
    async with database.session(read_only=True) as session:
        assert set((await session.exec(select(Vote.reason))).all()) == {""}


async def test_opting_out_and_in_is_kept_and_audited_once(chronicle: Chronicle) -> None:
    ada = await chronicle.member("ada")
    for change in (consent.opt_out, consent.opt_out, consent.opt_in):
        async with chronicle.database.session() as session:
            await change(session, ada)
    async with chronicle.database.session() as session:
        assert not (await journal.member(session, "discord", "ada")).opted_out
        actions = [
            entry.action for entry in (await session.exec(select(Audit).order_by(col(Audit.id)))).all()
        ]
    assert actions == ["consent.opt_out", "consent.opt_in"]


async def test_an_export_holds_everything_of_the_member_and_nothing_of_others(chronicle: Chronicle) -> None:
    hers = await chronicle.answered("Her question?", by="ada")
    his = await chronicle.answered("His question?", by="ben")
    await chronicle.vote(his, -1, by="ada", reason="tone", suggested_answer="Her suggestion.")
    await chronicle.vote(hers, -1, by="ben", suggested_answer="His suggestion.")
    async with chronicle.database.session() as session:
        await review.decide(session, hers, "moderator mo", "edit", answer="Edited.", note="a note")
    async with chronicle.database.session(read_only=True) as session:
        exported = await consent.export_member(session, await chronicle.member("ada"))
    written = json.dumps(exported)
    assert exported["member"]["pseudonym"] == "ada"
    for word in ("Her question?", "An answer.", "Her suggestion.", "tone", "Edited."):
        assert word in written
    for word in ("His question?", "His suggestion.", "moderator mo", "a note"):
        assert word not in written


async def test_forgetting_leaves_no_word_of_the_member_anywhere(chronicle: Chronicle) -> None:
    await _speak_and_be_forgotten(chronicle)
    async with chronicle.database.session(read_only=True) as session:
        connection = await session.connection()
        kept = [
            str(row)
            for table in SQLModel.metadata.tables
            for row in (await connection.execute(text(f'SELECT * FROM "{table}"'))).all()
        ]
    assert kept
    assert [row for row in kept if SECRET in row] == []


async def test_forgetting_keeps_rows_votes_and_a_ledger_without_the_person(chronicle: Chronicle) -> None:
    hers, his = await _speak_and_be_forgotten(chronicle)
    turn = await chronicle.turn(hers)
    assert (turn.state, turn.review_state, turn.member_id, turn.question) == ("erased", "erased", None, "")
    async with chronicle.database.session(read_only=True) as session:
        votes = (await session.exec(select(Vote).order_by(col(Vote.id)))).all()
        reviews = (await session.exec(select(Review))).all()
        request = (await session.exec(select(ForgetRequest))).one()
        names = [member.pseudonym for member in (await session.exec(select(Member))).all()]
    assert [(vote.turn_id, vote.value) for vote in votes] == [(his, -1), (hers, 1)]
    assert [one.decision for one in reviews] == ["edit"]
    assert (request.pseudonym, request.turns, request.erased_at is not None) == ("ada", [hers], True)
    assert "ada" not in names
    assert (await chronicle.turn(his)).question == "His question?"


async def test_a_forgotten_turn_is_neither_trained_on_nor_queued_nor_history(chronicle: Chronicle) -> None:
    hers, his = await _speak_and_be_forgotten(chronicle)
    async with chronicle.database.session(read_only=True) as session:
        assert [one async for one in conversations.with_something_approved(session)] == []
        assert [one.turn.id for one in await review.waiting(session)] == [his]
        assert hers not in [
            one.id for one in await journal.history(session, chronicle.conversation_id, 99, 9)
        ]


async def test_the_rank_of_a_turn_forgets_the_erased_suggestion(chronicle: Chronicle) -> None:
    _, his = await _speak_and_be_forgotten(chronicle)
    assert (await chronicle.turn(his)).queue_rank == -votes.DOWN_VOTE_WEIGHT


async def test_an_answer_that_arrives_after_forgetting_is_not_kept(chronicle: Chronicle) -> None:
    turn_id = await chronicle.asked(by="ada")
    await _forget(chronicle, "ada")
    async with chronicle.database.session() as session:
        await journal.record_answer(session, turn_id, journal.Answered(SECRET, "default", "en", "base"))
    assert (await chronicle.turn(turn_id)).answer == ""


async def test_the_platform_id_of_a_conversation_goes_only_when_nobody_else_spoke_there(
    chronicle: Chronicle,
) -> None:
    async with chronicle.database.session() as session:
        private = await journal.conversation(session, chronicle.community_id, f"private {SECRET}")
    await chronicle.answered(by="ada", conversation_id=private.id)
    await chronicle.answered(by="ada")
    await chronicle.answered(by="ben")
    await _forget(chronicle, "ada")
    async with chronicle.database.session(read_only=True) as session:
        rows = (await session.exec(select(Conversation).order_by(col(Conversation.id)))).all()
    assert [row.external_id for row in rows] == ["thread", f"erased:{private.id}"]


async def test_who_comes_back_after_being_forgotten_is_a_new_member(chronicle: Chronicle) -> None:
    ada = await chronicle.member("ada")
    await _forget(chronicle, "ada")
    async with chronicle.database.session() as session:
        assert (await journal.member(session, "discord", "ada")).id != ada


@pytest.mark.parametrize("what", [consent.forget, consent.export_member, consent.opt_in, consent.opt_out])
async def test_nothing_can_be_asked_of_a_forgotten_member(chronicle: Chronicle, what: Any) -> None:
    ada = await chronicle.member("ada")
    await _forget(chronicle, "ada")
    for member_id in (ada, 404):
        with pytest.raises(NotFound, match=f"There is no member {member_id}"):
            async with chronicle.database.session() as session:
                await what(session, member_id)


async def test_an_open_request_is_listed_until_it_is_ticked_off(chronicle: Chronicle) -> None:
    first, second = await _forget(chronicle, "ada"), await _forget(chronicle, "ben")
    async with chronicle.database.session() as session:
        assert [one.id for one in await consent.open_requests(session)] == [first, second]
        for _ in range(2):
            ticked = await consent.tick_off(session, first, actor="erasure")
        assert [one.id for one in await consent.open_requests(session)] == [second]
        actions = [entry.action for entry in (await session.exec(select(Audit))).all()]
    assert (ticked.pseudonym, ticked.carried_at is not None) == ("", True)
    assert actions.count("consent.carried") == 1


async def test_ticking_off_an_unknown_request_says_so(chronicle: Chronicle) -> None:
    with pytest.raises(NotFound, match="forget-me request 404"):
        async with chronicle.database.session() as session:
            await consent.tick_off(session, 404, actor="erasure")


async def test_retention_erases_old_texts_that_nobody_approved(chronicle: Chronicle) -> None:
    waiting, rejected, approved, young = [await chronicle.answered() for _ in range(4)]
    async with chronicle.database.session() as session:
        await review.decide(session, rejected, "mo", "reject", note="a note")
        await review.decide(session, approved, "mo", "approve")
    for turn_id in (waiting, rejected, approved):
        await chronicle.date(turn_id, now() - timedelta(days=40))
    assert await _expire(chronicle) == 2
    assert await _expire(chronicle) == 0
    states = [(await chronicle.turn(turn_id)).state for turn_id in (waiting, rejected, approved, young)]
    assert states == ["erased", "erased", "answered", "answered"]
    assert (await chronicle.turn(waiting)).question == ""


async def _speak_and_be_forgotten(chronicle: Chronicle) -> tuple[int, int]:
    """The ids of a forgotten member's turn and of another's that she had voted on."""
    answer = journal.Answered(f"{SECRET} it is.", "default", "en", "base", prompt_fingerprint=SECRET)
    hers = await chronicle.answered(
        f"{SECRET}?", by="ada", answer=answer, input=SECRET, external_id=f"message {SECRET}"
    )
    his = await chronicle.answered("His question?", by="ben")
    await chronicle.vote(his, -1, by="ada", reason=SECRET, suggested_answer=SECRET)
    await chronicle.vote(hers, 1, by="ben", reason=SECRET, suggested_answer=SECRET)
    async with chronicle.database.session() as session:
        await review.decide(session, hers, "mo", "edit", answer=SECRET, note=SECRET)
    await _forget(chronicle, "ada")
    return hers, his


async def _forget(chronicle: Chronicle, name: str) -> int:
    member_id = await chronicle.member(name)
    async with chronicle.database.session() as session:
        request = await consent.forget(session, member_id)
    assert request.id is not None
    return request.id


async def _expire(chronicle: Chronicle) -> int:
    async with chronicle.database.session() as session:
        return await consent.delete_expired(session, now() - timedelta(days=30))


async def _somebody_waits(database: Database) -> bool:
    """Whether a transaction in this PostgreSQL database waits for another one's lock."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with database.session(read_only=True) as session:
        connection = await session.connection()
        return bool((await connection.execute(waiting)).scalar())
