"""No passage of one community ever reaches another's prompt, whatever is approved, added and asked where."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.knowledge.knowledge import Knowledge
from feedback import journal, review
from feedback.database import Database
from feedback.journal import Answered
from feedback.passages import Chunk
from tests.conftest import SQLITE
from tests.shelf import shelve

WORDS = st.sampled_from(
    ["rank", "alpha", "adapter", "community1", "community2", "zasady", "reguły", "OR", "8"]
)
TEXT = st.lists(WORDS, min_size=1, max_size=4).map(" ".join)
COMMUNITIES = 3
HELD = st.lists(st.tuples(st.integers(0, COMMUNITIES - 1), st.booleans(), TEXT), min_size=1, max_size=12)


@SQLITE
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(held=HELD, questions=st.lists(TEXT, min_size=1, max_size=4))
def test_no_passage_of_one_community_is_found_for_another(
    held: list[tuple[int, bool, str]], questions: list[str], dialect: str, sqlite_template: Path
) -> None:
    asyncio.run(_look(held, questions, sqlite_template))


async def _look(held: list[tuple[int, bool, str]], questions: list[str], template: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "record.db"
        shutil.copy(template, file)
        database = Database(f"sqlite:///{file}")
        knowledge = Knowledge(database, None)
        async with database.session() as session:
            homes = [
                (await journal.community(session, "web", f"home {number}")).id or 0
                for number in range(COMMUNITIES)
            ]
        for number, (home, is_document, text) in enumerate(held):
            marked = f"{text} (of {home})"
            if is_document:
                await shelve(database, homes[home], Chunk(marked), address=f"{number}", title=text)
            else:
                await _approve(database, homes[home], number, text, marked)
        for question in questions:
            for home, community_id in enumerate(homes):
                found = await knowledge.retrieve(community_id, question, "en")
                assert all(source.text.endswith(f"(of {home})") for source in found)
                for source in found:
                    assert (await knowledge.source(community_id, source.passage_id)).text == source.text
        await database.close()


async def _approve(database: Database, community_id: int, number: int, question: str, answer: str) -> None:
    async with database.session() as session:
        conversation = await journal.conversation(session, community_id, f"{number}")
        asked = await journal.ask(
            session,
            community_id=community_id,
            conversation_id=conversation.id or 0,
            member_id=None,
            external_id=f"{number}",
            question=question,
            mode="default",
            language="en",
        )
        said = Answered(answer=answer, mode="default", language="en", base_model="base")
        await journal.record_answer(session, asked.turn.id or 0, said)
        await review.decide(session, asked.turn.id or 0, "mo", "approve")
