"""When training is needed between the times of the timetable."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from bot.needs import RECENT, Needs
from bot.settings import ScheduleSettings
from feedback import review
from feedback.database import Database
from feedback.tables import Adapter, Dataset, Pair, Passage, Review, TurnPassage
from tests.chronicle import Chronicle
from training.adapters import deployments, registry
from training.settings import TrainingSettings

FEW = TrainingSettings(min_new_pairs=2)


async def test_so_many_new_pairs_are_a_need_that_the_run_names(
    database: Database, chronicle: Chronicle, tmp_path: Path
) -> None:
    needs = _needs(database, tmp_path, ScheduleSettings(new_pairs=3))
    await chronicle.approved_at_once(["What is rank?", "What is alpha?"])
    assert await needs.look(datetime.now(UTC)) == []
    await chronicle.approved_at_once(["What is dropout?"])
    (need,) = await needs.look(datetime.now(UTC))
    assert (need.adapter, need.why) == ("community", "need: 3 new approved pairs")


async def test_answers_that_are_surely_liked_less_than_before_are_a_need_once_enough_is_new(
    database: Database, chronicle: Chronicle, tmp_path: Path
) -> None:
    needs = _needs(database, tmp_path, ScheduleSettings(falling_approval=True))
    moment = datetime.now(UTC)
    for number in range(25):
        await _judged(chronicle, 1, moment - RECENT - timedelta(days=1), number)
        await _judged(chronicle, -1, moment - timedelta(days=1), number)
    assert await needs.look(moment) == []  # nothing new to learn from
    await chronicle.approved_at_once(["What is rank?", "What is alpha?"])
    (need,) = await needs.look(moment)
    assert need.why == "need: approval fell by about 100 points in 14 days"


async def test_answers_that_are_liked_as_before_are_no_need(
    database: Database, chronicle: Chronicle, tmp_path: Path
) -> None:
    needs = _needs(database, tmp_path, ScheduleSettings(falling_approval=True))
    moment = datetime.now(UTC)
    for number in range(15):
        await _judged(chronicle, 1, moment - RECENT - timedelta(days=1), number)
        await _judged(chronicle, 1, moment - timedelta(days=1), number)
    await chronicle.approved_at_once(["What is rank?", "What is alpha?"])
    assert await needs.look(moment) == []
    async with database.session(read_only=True) as session:
        assert await deployments.serving(session) is None


def _needs(database: Database, data: Path, settings: ScheduleSettings) -> Needs:
    return Needs(database, settings, FEW, "plain", data)


async def _judged(chronicle: Chronicle, value: int, asked_at: datetime, number: int) -> None:
    turn_id = await chronicle.answered(asked_at=asked_at)
    await chronicle.vote(turn_id, value, by=f"voter {number}")


async def test_an_error_that_recurs_about_one_topic_is_a_need_that_names_it(
    database: Database, chronicle: Chronicle, tmp_path: Path
) -> None:
    needs = _needs(database, tmp_path, ScheduleSettings(repeated_errors=4))
    await chronicle.approved_at_once(["What is rank?", "What is alpha?"])
    for number in range(12):
        await chronicle.answered(f"Where do I find item {number}?", by=f"asker {number}")
    for number, word in enumerate(["prices", "price", "prices"]):
        await _edited(chronicle, f"What are the {word} of item {number}?", by=f"asker {number}")
    assert await needs.look(datetime.now(UTC)) == []
    await _edited(chronicle, "Which prices include tax?", by="asker 3")
    (need,) = await needs.look(datetime.now(UTC))
    assert need.why == "need: 4 edits about “prices” in 7 days"
    assert await needs.look(datetime.now(UTC) + timedelta(days=8)) == []


async def test_pairs_decided_anew_or_that_rest_on_changed_documents_are_a_need(
    database: Database, chronicle: Chronicle, tmp_path: Path
) -> None:
    needs = _needs(database, tmp_path, ScheduleSettings(changed_pairs=2))
    turns = [await chronicle.approved(f"What is item {number}?") for number in range(4)]
    async with database.session() as session:
        adapter = await _learnt(session, turns)
        for place, turn_id in enumerate(turns[:2]):  # what stood in the prompt, and is no more
            session.add(TurnPassage(turn_id=turn_id, passage_id=900 + place, content_hash="old", place=1))
        session.add(
            Passage(id=900, community_id=chronicle.community_id, text="Still so.", content_hash="old")
        )
    await chronicle.approved_at_once(["What is rank?", "What is alpha?"])
    assert await needs.look(datetime.now(UTC)) == []
    async with database.session() as session:
        await review.undo(session, turns[3], "mo")
        await review.decide(session, turns[3], "mo", "edit", answer="A lamp, in fact.")
    (need,) = await needs.look(datetime.now(UTC))
    assert need.why == f"need: 2 pairs that {registry.label(adapter)} learnt changed since"


async def test_in_quiet_hours_nothing_is_needed(
    database: Database, chronicle: Chronicle, tmp_path: Path
) -> None:
    needs = _needs(database, tmp_path, ScheduleSettings(new_pairs=1, quiet_hours="17-23"))
    await chronicle.approved_at_once(["What is rank?", "What is alpha?"])
    evening = datetime(2030, 6, 3, 22, 59, tzinfo=UTC)
    assert await needs.look(evening) == []
    assert len(await needs.look(evening + timedelta(minutes=1))) == 1


async def _edited(chronicle: Chronicle, question: str, *, by: str) -> None:
    turn_id = await chronicle.answered(question, by=by)
    async with chronicle.database.session() as session:
        await review.decide(session, turn_id, "mo", "edit", answer="Better.")


async def _learnt(session: AsyncSession, turns: list[int]) -> Adapter:
    """An adapter in service that learnt from these turns."""
    dataset = Dataset(name="community", version=1, folder="d", content_hash="0", manifest={"reviews": []})
    session.add(dataset)
    await session.flush()
    for turn_id in turns:
        newest = select(Review.id).where(Review.turn_id == turn_id).order_by(col(Review.id).desc())
        session.add(
            Pair(
                dataset_id=dataset.id or 0,
                turn_id=turn_id,
                review_id=(await session.exec(newest)).first() or 0,
                split="train",
                content_hash="0",
            )
        )
    adapter = Adapter(
        name="community",
        version=1,
        folder="a",
        content_hash="0",
        base_model="tiny",
        base_revision="r1",
        dataset_id=dataset.id,
        state="promoted",
    )
    session.add(adapter)
    await session.flush()
    await deployments.switch(session, adapter, by="run 1")
    return adapter
