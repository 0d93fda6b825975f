"""The demo community: readers of a blog on LoRA fine-tuning, their questions, votes and reviews.

Everything goes through the journal and the review queue like real talk, so a seeded record is one that
the product itself could have written. Seeding twice changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from feedback import journal, review, votes
from feedback.consent import pseudonym
from feedback.database import Database
from feedback.journal import Answered
from feedback.tables import Community
from feedback.words import Decision, Language, Platform

PLATFORM: Final[Platform] = "web"
COMMUNITY: Final = "demo"
NAME: Final = "Decode: readers of a blog on machine learning"
MODERATOR: Final = "demo:moderator"


@dataclass(frozen=True)
class SeedPair:
    """One question of the community in its phrasings, with the answer a moderator approves.

    `bot_answer` is what the bot had said where that was edited or rejected; `review` None still waits.
    """

    key: str
    language: str
    task_type: str
    questions: tuple[str, ...]
    held_out: str
    answer: str
    bot_answer: str | None
    votes: tuple[int, ...]
    vote_reason: str | None
    review: Decision | None


@dataclass(frozen=True)
class SeedCounts:
    """What the record of the demo community holds after seeding."""

    turns: int
    approved: int
    waiting: int
    held_out: int


def seed_pairs() -> list[SeedPair]:
    """The pairs written for the demo community, in the order of the file."""
    text = resources.files("bot.demo").joinpath("community.jsonl").read_text(encoding="utf-8")
    return [_pair(json.loads(line)) for line in text.splitlines()]


def questions_to_try() -> dict[Language, list[str]]:
    """Questions to suggest in the demo, by language: none says in other words what its pairs ask."""
    found: dict[Language, list[str]] = json.loads(
        resources.files("bot.demo").joinpath("to_try.json").read_text(encoding="utf-8")
    )
    return found


def _pair(row: dict[str, Any]) -> SeedPair:
    return SeedPair(**{**row, "questions": tuple(row["questions"]), "votes": tuple(row["votes"])})


@dataclass(frozen=True)
class _Seeded:
    external_id: str
    question: str
    pair: SeedPair
    held_out: bool


def _turns(pairs: list[SeedPair], phrasings: int) -> Iterator[_Seeded]:
    for pair in pairs:
        trainable = pair.review in ("approve", "edit")
        for index, question in enumerate(pair.questions[: phrasings if trainable else 1]):
            yield _Seeded(f"{pair.key}/{index}", question, pair, held_out=False)
        if trainable:
            yield _Seeded(f"{pair.key}/held-out", pair.held_out, pair, held_out=True)


async def seed(database: Database, key: bytes, *, phrasings: int = 3) -> SeedCounts:
    """Write the demo community down; `phrasings` per approved pair. Idempotent."""
    seeded = list(_turns(seed_pairs(), phrasings))
    async with database.session() as session:
        known = select(Community.id).where(Community.platform == PLATFORM, Community.external_id == COMMUNITY)
        is_new = (await session.exec(known)).first() is None
        community = await journal.community(session, PLATFORM, COMMUNITY, name=NAME)
        if is_new:  # later on its moderators decide
            community.training_allowed = True
            session.add(community)
        for number, turn in enumerate(seeded):
            await _write(session, community, turn, key, number)
    return SeedCounts(
        turns=len(seeded),
        approved=sum(t.pair.review in ("approve", "edit") and not t.held_out for t in seeded),
        waiting=sum(t.pair.review is None for t in seeded),
        held_out=sum(t.held_out for t in seeded),
    )


async def _write(
    session: AsyncSession, community: Community, seeded: _Seeded, key: bytes, number: int
) -> None:
    pair = seeded.pair
    asker = await journal.member(session, PLATFORM, pseudonym(PLATFORM, f"demo-reader-{number % 23}", key))
    conversation = await journal.conversation(session, community.id or 0, seeded.external_id)
    asked = await journal.ask(
        session,
        community_id=community.id or 0,
        conversation_id=conversation.id or 0,
        member_id=asker.id,
        external_id=seeded.external_id,
        question=seeded.question,
        mode="default",
        language=pair.language,
        task_type=pair.task_type,
        held_out=seeded.held_out,
    )
    turn_id = asked.turn.id
    if not asked.is_new or turn_id is None:
        return
    said = pair.bot_answer or pair.answer
    await journal.record_answer(
        session, turn_id, Answered(answer=said, mode="default", language=pair.language, base_model="")
    )
    first_phrasing = seeded.external_id.endswith("/0")
    for index, value in enumerate(pair.votes if first_phrasing else ()):
        voter = await journal.member(
            session, PLATFORM, pseudonym(PLATFORM, f"demo-reader-{(number + index + 1) % 23}", key)
        )
        await votes.vote(
            session,
            turn_id=turn_id,
            member_id=voter.id or 0,
            value=1 if value > 0 else -1,
            reason=(pair.vote_reason or "") if value < 0 else "",
        )
    if pair.review is not None:
        edited = pair.answer if pair.review == "edit" else ""
        await review.decide(session, turn_id, MODERATOR, pair.review, answer=edited)
