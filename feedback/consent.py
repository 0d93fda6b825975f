"""What a member may decide about their words: stay out of training, see them, have them forgotten.

Erasing empties texts and severs what leads back to the person; rows stay, in state "erased", so that
counts and the lineage of adapters stay true. Datasets and adapters follow later (`training.run.erasure`),
along the ledger: `open_requests`, then `tick_off`.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, String, literal, or_
from sqlalchemy import cast as sql_cast
from sqlalchemy.orm import aliased
from sqlmodel import SQLModel, col, delete, select, update
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from feedback import imported, passages, sign_in
from feedback.errors import Conflict, NotFound
from feedback.journal import audit, locked_turn
from feedback.plural import counted
from feedback.tables import (
    PHRASING,
    AnswerMessage,
    Candidate,
    Conversation,
    ForgetRequest,
    ImportedVoice,
    IncomingUpdate,
    Member,
    OpenQuestion,
    Passage,
    RatingQuestion,
    Review,
    Turn,
    Vote,
    now,
)
from feedback.votes import rank_in_queue

PSEUDONYM_CHARACTERS: Final = 32
"""Hex digits of a pseudonym: 128 bits, far beyond any chance of two members sharing one."""


def pseudonym(platform: str, external_id: str, key: bytes) -> str:
    """The name under which the record knows a platform's user: a keyed hash, useless without the key."""
    # the length keeps ("ab", "c") and ("a", "bc") apart
    message = f"{len(platform)}:{platform}{external_id}".encode()
    return hmac.new(key, message, hashlib.sha256).hexdigest()[:PSEUDONYM_CHARACTERS]


async def opt_out(session: AsyncSession, member_id: int) -> None:
    """Keep the member's turns out of every dataset built from now on. Raises NotFound."""
    await _set_opted_out(session, member_id, True)


async def opt_in(session: AsyncSession, member_id: int) -> None:
    """Let the member's approved turns train again. Raises NotFound."""
    await _set_opted_out(session, member_id, False)


async def export_member(session: AsyncSession, member_id: int) -> dict[str, Any]:
    """Everything kept about a member, ready for JSON. Raises NotFound.

    Moderators appear by their decisions, not by name, and other members' votes not at all: those are
    other people's.
    """
    member = await _member(session, member_id)
    turns = (await session.exec(select(Turn).where(Turn.member_id == member_id).order_by(col(Turn.id)))).all()
    votes = (await session.exec(select(Vote).where(Vote.member_id == member_id).order_by(col(Vote.id)))).all()
    reviews = await session.exec(
        select(Review)
        .join(Turn, col(Turn.id) == Review.turn_id)
        .where(Turn.member_id == member_id)
        .order_by(col(Review.id))
    )
    return {
        "member": _plain(member),
        "turns": [_plain(turn, leave_out={"claimed_by", "claimed_until", "queue_rank"}) for turn in turns],
        "votes": [_plain(vote, leave_out={"member_id"}) for vote in votes],
        "reviews": [_plain(review, leave_out={"reviewer", "note"}) for review in reviews],
    }


async def forget(session: AsyncSession, member_id: int) -> ForgetRequest:
    """Erase a member's words and cut what leads back to them; the ledger's row for datasets and adapters.

    Gone: questions, inputs and answers of their turns with every review's and vote's text on them, the
    reasons and suggestions of their own votes, platform ids of those turns, of the messages that answered
    them and of conversations nobody else spoke in, answers to their questions that people rate blind, what is
    kept of their open questions and of messages that nobody has come to yet, every turn from imported talk
    that holds words of theirs, their links and sessions of the console, their pseudonym. Left: rows without
    text, and +1 or -1 without a name. What a moderator took over into another member's answer is the
    moderator's text and stays. Raises NotFound, also for a member forgotten before.
    """
    member = await _member(session, member_id)
    theirs = or_(
        col(Turn.member_id) == member_id,
        col(Turn.id).in_(imported.with_words_of(member.platform, member.pseudonym)),
    )
    await _lock_turns(session, or_(theirs, col(Turn.id).in_(_voted_on(member_id))))
    member = await _member(session, member_id, lock=True)
    asked = (await session.exec(select(Turn.id).where(theirs).order_by(col(Turn.id)))).all()
    request = ForgetRequest(
        platform=member.platform, pseudonym=member.pseudonym, turns=[turn_id for turn_id in asked if turn_id]
    )
    session.add(request)
    await session.flush()
    await _sever_conversations(session, member_id)
    await _erase_texts(session, theirs)
    await _erase_suggestions(session, member_id)
    await session.exec(
        delete(AnswerMessage).where(col(AnswerMessage.turn_id).in_(select(Turn.id).where(theirs)))
    )
    await _erase_deliveries(session, member)
    await sign_in.forget(session, member.platform, member.pseudonym)
    await session.exec(
        update(Turn)
        .where(theirs)
        .values(member_id=None, external_id=literal("erased:") + sql_cast(col(Turn.id), String))
    )
    await session.exec(
        delete(ImportedVoice).where(
            col(ImportedVoice.platform) == member.platform, col(ImportedVoice.pseudonym) == member.pseudonym
        )
    )
    # the votes still count, so their row stays, under a name that leads nowhere
    member.pseudonym, member.opted_out = f"forgotten:{secrets.token_hex(16)}", True
    request.erased_at = now()
    session.add_all((member, request))
    audit(session, "member", "consent.forget", f"request {request.id}", turns=len(request.turns))
    await session.flush()
    return request


async def erase_turn(session: AsyncSession, turn_id: int, *, actor: str) -> None:
    """Erase the texts of one turn, as when its question was deleted where it was asked. Raises NotFound."""
    turn = await locked_turn(session, turn_id)
    if turn.state != "erased":
        await _erase_texts(session, col(Turn.id) == turn_id)
        audit(session, actor, "consent.erase", f"turn {turn_id}")
        await session.flush()


async def take_back(session: AsyncSession, import_id: int, *, actor: str) -> int:
    """Erase every turn that an import brought in; how many there were. Datasets follow as after forget-me.

    Turns that an import before it had brought in already stay that one's. Raises NotFound; Conflict for an
    import that was taken back before.
    """
    row = await imported.find(session, import_id)
    if row.undone_at is not None:
        raise Conflict(f"Import {import_id} was taken back before.")
    its = col(Turn.import_id) == import_id
    turn_ids = select(Turn.id).where(its)
    await session.exec(delete(ImportedVoice).where(col(ImportedVoice.turn_id).in_(turn_ids)))
    erased = await _erase_texts(session, its, col(Turn.state) != "erased")
    # so that the same file can be imported again
    await session.exec(
        update(Turn).where(its).values(external_id=literal("erased:") + sql_cast(col(Turn.id), String))
    )
    row.state, row.undone_at = "undone", now()
    session.add(row)
    audit(session, actor, "data.undo-import", f"import {import_id}", turns=erased)
    await session.flush()
    return erased


async def open_requests(session: AsyncSession) -> list[ForgetRequest]:
    """The ledger's rows that datasets and adapters have not followed yet, oldest first."""
    still_open = select(ForgetRequest).where(col(ForgetRequest.carried_at).is_(None))
    return list((await session.exec(still_open.order_by(col(ForgetRequest.id)))).all())


async def tick_off(session: AsyncSession, request_id: int, *, actor: str) -> ForgetRequest:
    """Note that datasets and adapters have followed a request; its pseudonym goes too. Raises NotFound."""
    found = await session.exec(select(ForgetRequest).where(ForgetRequest.id == request_id).with_for_update())
    request = found.one_or_none()
    if request is None:
        raise NotFound("forget-me request", request_id)
    if request.carried_at is None:
        request.carried_at, request.pseudonym = now(), ""
        session.add(request)
        audit(session, actor, "consent.carried", f"request {request_id}")
        await session.flush()
    return request


async def delete_expired(
    session: AsyncSession,
    older_than: datetime,
    *,
    community_id: int | None = None,
    but: Collection[int] = (),
) -> int:
    """Erase the texts of turns asked before `older_than` that nobody approved; how many there were.

    Of one community, or of all `but` some.
    """
    expired = [
        col(Turn.asked_at) < older_than,
        col(Turn.state) != "erased",
        col(Turn.review_state).in_(("waiting", "rejected", PHRASING)),
        col(Turn.community_id).not_in(but),
    ]
    if community_id is not None:
        expired.append(col(Turn.community_id) == community_id)
    count = await _erase_texts(session, *expired)
    if count:
        audit(
            session,
            "rule:retention",
            "consent.expire",
            counted(count, "turn"),
            older_than=older_than.isoformat(),
        )
        await session.flush()
    return count


async def _member(session: AsyncSession, member_id: int, *, lock: bool = False) -> Member:
    """The member, unless there is none or it was forgotten."""
    query = select(Member).where(Member.id == member_id, ~col(Member.pseudonym).startswith("forgotten:"))
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    member = (await session.exec(query)).one_or_none()
    if member is None:
        raise NotFound("member", member_id)
    return member


async def _set_opted_out(session: AsyncSession, member_id: int, opted_out: bool) -> None:
    member = await _member(session, member_id, lock=True)
    if member.opted_out != opted_out:
        member.opted_out = opted_out
        session.add(member)
        audit(session, "member", f"consent.opt_{'out' if opted_out else 'in'}", f"member {member_id}")
        imported_words = imported.with_words_of(member.platform, member.pseudonym)
        theirs = or_(col(Turn.member_id) == member_id, col(Turn.id).in_(imported_words))
        await passages.follow(session, theirs)
        await passages.unlearn(session, theirs)


async def _erase_texts(session: AsyncSession, *which: ColumnElement[bool]) -> int:
    """Empty the texts of the turns that `which` selects, and every text that hangs on them."""
    await _lock_turns(session, *which)
    turn_ids = select(Turn.id).where(*which)
    # the turns themselves come last: `which` may look at what changes
    await session.exec(
        update(Vote).where(col(Vote.turn_id).in_(turn_ids)).values(reason="", suggested_answer="")
    )
    await session.exec(update(Review).where(col(Review.turn_id).in_(turn_ids)).values(answer="", note=""))
    await session.exec(delete(OpenQuestion).where(col(OpenQuestion.turn_id).in_(turn_ids)))
    await session.exec(delete(Candidate).where(col(Candidate.turn_id).in_(turn_ids)))
    await session.exec(delete(Passage).where(col(Passage.turn_id).in_(turn_ids)))
    await passages.unlearn(session, *which)
    await session.exec(
        update(RatingQuestion).where(col(RatingQuestion.turn_id).in_(turn_ids)).values(answers={})
    )
    erased = await session.exec(
        update(Turn)
        .where(*which)
        .values(
            question="",
            input="",
            answer="",
            approved_answer="",
            prompt_fingerprint="",
            state="erased",
            review_state="erased",
            claimed_by="",
            claimed_until=None,
        )
    )
    return erased.rowcount


async def _lock_turns(session: AsyncSession, *which: ColumnElement[bool]) -> None:
    """Keep others from changing these turns and what hangs on them until the session ends.

    Whoever votes or decides locks the turn first. Whatever is changed before that may be waited for by them,
    while they are waited for.
    """
    await session.exec(select(Turn.id).where(*which).order_by(col(Turn.id)).with_for_update())


def _voted_on(member_id: int) -> SelectOfScalar[int]:
    return select(Vote.turn_id).where(Vote.member_id == member_id).order_by(col(Vote.turn_id))


async def _erase_suggestions(session: AsyncSession, member_id: int) -> None:
    voted_on = (await session.exec(_voted_on(member_id))).all()
    await session.exec(
        update(Vote).where(col(Vote.member_id) == member_id).values(reason="", suggested_answer="")
    )
    for turn_id in voted_on:
        await rank_in_queue(session, await locked_turn(session, turn_id))


async def _erase_deliveries(session: AsyncSession, member: Member) -> None:
    await session.exec(
        update(IncomingUpdate)
        .where(
            col(IncomingUpdate.platform) == member.platform,
            col(IncomingUpdate.pseudonym) == member.pseudonym,
        )
        .values(payload="", pseudonym="", handled_at=now())
    )


async def _sever_conversations(session: AsyncSession, member_id: int) -> None:
    """A private chat's platform id is its member's; replace the ids of conversations held alone."""
    others = aliased(Turn)
    somebody_else = select(others.id).where(
        col(others.conversation_id) == Conversation.id,
        col(others.member_id).is_not(None),
        col(others.member_id) != member_id,
    )
    their_conversations = select(Turn.conversation_id).where(Turn.member_id == member_id)
    await session.exec(
        update(Conversation)
        .where(col(Conversation.id).in_(their_conversations), ~somebody_else.exists())
        .values(external_id=literal("erased:") + sql_cast(col(Conversation.id), String))
    )


def _plain(row: SQLModel, *, leave_out: set[str] | None = None) -> dict[str, Any]:
    return row.model_dump(mode="json", exclude=leave_out)
