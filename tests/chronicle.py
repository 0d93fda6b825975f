"""Rows that tests start from, written through the journal as the bot writes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from feedback import journal, review, votes
from feedback.database import Database
from feedback.journal import Answered
from feedback.tables import Turn

ANSWER = Answered(answer="An answer.", mode="default", language="en", base_model="base", total_s=2.0)


@dataclass
class Chronicle:
    """Writes turns, votes and members into a database, each in a session of its own."""

    database: Database
    community_id: int = 0
    conversation_id: int = 0
    members: dict[str, int] = field(default_factory=dict)
    told: int = 0

    async def open(self, *, training_allowed: bool = True) -> Chronicle:
        """Make the community and conversation that the turns go to."""
        async with self.database.session() as session:
            community = await journal.community(session, "discord", "guild", name="A guild")
            community.training_allowed = training_allowed
            session.add(community)
            conversation = await journal.conversation(session, _id(community), "thread")
            self.community_id, self.conversation_id = _id(community), _id(conversation)
        return self

    async def member(self, name: str) -> int:
        """The id of the member of that pseudonym."""
        if name not in self.members:
            async with self.database.session() as session:
                self.members[name] = _id(await journal.member(session, "discord", name))
        return self.members[name]

    async def asked(self, question: str = "A question?", *, by: str = "ada", **more: Any) -> int:
        """The id of a new turn without an answer."""
        self.told += 1
        member_id = await self.member(by)
        values: dict[str, Any] = {
            "community_id": self.community_id,
            "conversation_id": self.conversation_id,
            "external_id": f"message-{self.told}",
            "mode": "default",
            "language": "en",
        }
        async with self.database.session() as session:
            asked = await journal.ask(session, member_id=member_id, question=question, **(values | more))
        return _id(asked.turn)

    async def answered(
        self, question: str = "A question?", *, by: str = "ada", answer: Answered = ANSWER, **more: Any
    ) -> int:
        """The id of a new turn with its answer."""
        turn_id = await self.asked(question, by=by, **more)
        async with self.database.session() as session:
            await journal.record_answer(session, turn_id, answer)
        return turn_id

    async def approved(
        self,
        question: str = "A question?",
        answer: str = "An answer.",
        *,
        conversation: str = "thread",
        by: str = "ada",
        **more: Any,
    ) -> int:
        """The id of a new turn in that conversation whose answer a moderator approved."""
        self.told += 1
        values: dict[str, Any] = {
            "mode": "default",
            "language": "en",
            "external_id": f"message-{self.told}",
        } | more
        said = replace(ANSWER, answer=answer, mode=values["mode"], language=values["language"])
        member_id = await self.member(by)
        async with self.database.session() as session:
            place = await journal.conversation(session, self.community_id, conversation)
            asked = await journal.ask(
                session,
                community_id=self.community_id,
                conversation_id=_id(place),
                member_id=member_id,
                question=question,
                **values,
            )
            turn_id = _id(asked.turn)
            await journal.record_answer(session, turn_id, said)
            await review.decide(session, turn_id, "mo", "approve")
        return turn_id

    async def approved_at_once(
        self, questions: Sequence[str], *, by: str = "ada", reviewer: str = "mo", answer: str = ""
    ) -> list[int]:
        """The ids of new approved turns, each in a conversation of its own, written in one session."""
        member_id = await self.member(by)
        turns = []
        async with self.database.session() as session:
            for question in questions:
                self.told += 1
                place = await journal.conversation(session, self.community_id, f"talk {self.told}")
                asked = await journal.ask(
                    session,
                    community_id=self.community_id,
                    conversation_id=_id(place),
                    member_id=member_id,
                    external_id=f"message-{self.told}",
                    question=question,
                    mode="default",
                    language="en",
                )
                turns.append(_id(asked.turn))
                said = replace(ANSWER, answer=answer or f"This is what is known of {question.rstrip('?')}.")
                await journal.record_answer(session, turns[-1], said)
                await review.decide(session, turns[-1], reviewer, "approve")
        return turns

    async def vote(self, turn_id: int, value: Any, *, by: str = "ben", **more: Any) -> votes.Voted:
        """A vote of the member of that pseudonym."""
        member_id = await self.member(by)
        async with self.database.session() as session:
            return await votes.vote(session, turn_id=turn_id, member_id=member_id, value=value, **more)

    async def turn(self, turn_id: int) -> Turn:
        """The turn as the database has it now."""
        async with self.database.session(read_only=True) as session:
            return await journal.find_turn(session, turn_id)

    async def date(self, turn_id: int, asked_at: datetime) -> None:
        """Move a turn to another time."""
        async with self.database.session() as session:
            turn = await journal.find_turn(session, turn_id)
            turn.asked_at = asked_at
            session.add(turn)


def _id(row: Any) -> int:
    assert row.id is not None
    return int(row.id)
