"""What stands round a turn that is reviewed: the talk before, its sources, who else asked, what is personal.

Read-only but for `decide_alike`. It takes longer than a decision does, so edges show the turn first. Who else
asked the same is looked for among what stands first in the queue and what the knowledge finds.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from bot.access.actor import Actor
from bot.access.rights import may
from bot.commands import review as reviews
from bot.knowledge.knowledge import Source, sources_of
from bot.knowledge.stems import stems
from bot.knowledge.word_index import WordIndex
from feedback import journal, review
from feedback.database import Database
from feedback.errors import Conflict, NotFound
from feedback.review import UNDECIDED
from feedback.tables import Passage, Review, Turn, Vote
from feedback.words import Decision, TurnId
from training.data import similar_texts
from training.data.hygiene import personal_data
from training.data.similar_texts import Vocabulary

TURNS_BEFORE: Final = 3
"""Turns of the conversation that are shown before the one reviewed."""
LOOKED_AT: Final = 150
"""Waiting turns, and rejected ones, among which repeats of a question are looked for."""
MOST_SHOWN: Final = 5
"""Decided questions that are shown."""

_vocabulary: Final = Vocabulary()


@dataclass(frozen=True)
class Alike:
    """A question much like the one reviewed, and what was decided of it: by whom, with which answer."""

    turn_id: TurnId
    question: str
    state: str
    reviewer: str
    answer: str
    note: str


@dataclass(frozen=True)
class Surroundings:
    """What a reviewer may want to know beside question and answer.

    `said` are question and answer of the turns before, oldest first. `repeats` are turns that wait and ask
    the same; `decided` are questions like it that were decided on. `personal` are the kinds of personal data
    in question, answer or what members suggested, and `masked` the answer without what is personal in it.
    """

    said: tuple[tuple[str, str], ...]
    sources: tuple[Source, ...]
    repeats: tuple[TurnId, ...]
    decided: tuple[Alike, ...]
    personal: tuple[str, ...]
    masked: str


async def around(database: Database, turn_id: int, actor: Actor) -> Surroundings:
    """What stands round that turn. Raises NotFound."""
    async with database.session(read_only=True) as session:
        turn = await journal.find_turn(session, turn_id)
        if not may(actor, "review", turn.community_id):
            raise NotFound("turn", turn_id, "It belongs to another community.")
        before = await journal.history(session, turn.conversation_id, turn_id, TURNS_BEFORE)
        sources = await sources_of(session, turn.community_id, turn_id)
        waiting = await _near(session, turn, "waiting")
        rejected = await _near(session, turn, "rejected")
        approved = await _approved(session, turn)
        repeats, decided = await asyncio.to_thread(_alike, turn, waiting, [*approved, *rejected])
        told = await _told(session, decided)
        suggested = await session.exec(select(Vote.suggested_answer).where(Vote.turn_id == turn_id))
        beside = "\n".join((turn.question, turn.input, *suggested))
    masked, kinds = await asyncio.to_thread(personal_data.masked, turn.answer)
    _, kinds_beside = await asyncio.to_thread(personal_data.masked, beside)
    return Surroundings(
        said=tuple((one.question, one.answer) for one in before),
        sources=tuple(sources),
        repeats=tuple(TurnId(one.id or 0) for one in repeats),
        decided=told,
        personal=tuple(dict.fromkeys((*kinds_beside, *kinds))),
        masked=masked,
    )


async def decide_alike(
    database: Database, turns: tuple[TurnId, ...], actor: Actor, decision: Decision, *, answer: str
) -> list[TurnId]:
    """Decide the same on turns that ask the same; those on which it was done.

    An approved answer becomes the answer of them all. What somebody decided on meanwhile stays as it is.
    """
    done = []
    for turn_id in turns:
        try:
            if decision == "reject":
                await reviews.reject(database, turn_id, actor, seen=UNDECIDED)
            else:
                await reviews.edit(database, turn_id, actor, answer, seen=UNDECIDED)
        except Conflict:
            continue
        done.append(turn_id)
    return done


def _alike(turn: Turn, waiting: list[Turn], decided: list[Turn]) -> tuple[list[Turn], list[Turn]]:
    """Of either those whose question is much like the turn's."""
    asked = similar_texts.tokens(f"{turn.input} {turn.question}", _vocabulary)

    def is_alike(other: Turn) -> bool:
        tokens = similar_texts.tokens(f"{other.input} {other.question}", _vocabulary)
        return similar_texts.are_alike(asked, tokens, similar_texts.THRESHOLD)

    return [one for one in waiting if is_alike(one)], [one for one in decided if is_alike(one)][:MOST_SHOWN]


async def _near(session: AsyncSession, turn: Turn, state: str) -> list[Turn]:
    """The first of a state in the queue's order, which its index has."""
    found = (
        select(Turn)
        .where(
            Turn.community_id == turn.community_id,
            Turn.review_state == state,
            Turn.state == "answered",
            Turn.id != turn.id,
        )
        .order_by(col(Turn.queue_rank), col(Turn.id))
        .limit(LOOKED_AT)
    )
    return list((await session.exec(found)).all())


async def _approved(session: AsyncSession, turn: Turn) -> list[Turn]:
    """Approved questions that share rare words with this one, best first."""
    found = await WordIndex().search(
        session, turn.community_id, stems(turn.question, turn.language), MOST_SHOWN * 4
    )
    of_them = (
        select(Turn)
        .join(Passage, col(Passage.turn_id) == Turn.id)
        .where(col(Passage.id).in_(found), Turn.id != turn.id, col(Turn.review_state).in_(review.TRAINABLE))
    )
    return list((await session.exec(of_them)).all())


async def _told(session: AsyncSession, decided: list[Turn]) -> tuple[Alike, ...]:
    ids = [one.id for one in decided]
    standing = (
        select(Review)
        .where(col(Review.turn_id).in_(ids), col(Review.undone_at).is_(None), col(Review.decision) != "skip")
        .order_by(col(Review.id))
    )
    newest = {one.turn_id: one for one in (await session.exec(standing)).all()}
    return tuple(
        Alike(
            TurnId(one.id or 0),
            one.question,
            one.review_state,
            newest[one.id].reviewer if one.id in newest else "",
            one.approved_answer or one.answer,
            newest[one.id].note if one.id in newest else "",
        )
        for one in decided
    )
