"""The weekly digest: what it says, in both languages, and where that comes from."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from bot import digest as weekly
from bot.digest import Digest, Example, Gap
from feedback import consent, review
from feedback.database import Database
from feedback.statistics import Counts
from feedback.tables import Adapter, Evaluation, Run
from tests.chronicle import ANSWER, Chronicle
from training.examination.reasons import Reason
from training.examination.results import Answer, stored
from training.run.lifecycle import storable

TOLD = Digest(
    Counts(turns=21, answered=19, failed=2, approved=3, edited=1, rejected=2, votes_up=3, votes_down=1),
    waiting=7,
    serving="community@4",
    promoted=("community@4",),
    rejected=(),
    withdrawn=("community@3",),
)


def test_a_week_is_told_in_english() -> None:
    said = "\n".join(weekly.lines(TOLD, "en"))
    assert "21 questions, 19 answered, 2 failed." in said
    assert "4 votes, 75% of them up (95 % interval 30% to 95%)." in said
    assert "approved 4 and rejected 2; 7 wait" in said
    assert "promoted: **community@4**" in said and "Taken out of service: **community@3**" in said
    assert "Trained and rejected" not in said and "**community@4** answers here now." in said


def test_a_week_is_told_in_polish() -> None:
    said = "\n".join(weekly.lines(TOLD, "pl"))
    assert "21 pytań, 19 z odpowiedzią" in said and "4 głosy, w tym 75% pochwał" in said


def test_a_week_without_votes_gives_no_rate() -> None:
    said = weekly.lines(replace(TOLD, week=Counts(turns=1, answered=1)), "en")
    assert "Nobody voted." in said and not any("%" in line for line in said)


async def test_the_figures_are_those_of_the_record(database: Database, chronicle: Chronicle) -> None:
    liked, old = await chronicle.answered(), await chronicle.answered()
    await chronicle.vote(liked, 1)
    await chronicle.date(old, datetime.now(UTC) - timedelta(days=8))
    async with database.session() as session:
        await review.decide(session, liked, "mo", "approve")
    async with database.session(read_only=True) as session:
        told = await weekly.digest(session, chronicle.community_id, datetime.now(UTC))
    assert (told.week.turns, told.week.votes_up, told.week.approved, told.waiting) == (1, 1, 1, 1)
    assert told.serving == "base" and told.promoted == ()


def test_gaps_examples_and_why_something_was_refused_are_told() -> None:
    told = replace(
        TOLD,
        rejected=("docs@2",),
        refused={"docs@2": Reason("too few elsewhere", {"examination": "recall", "number": 3})},
        gap_count=5,
        gaps=(Gap(7, "Who waters *the* ferns?"),),
        examples=(Example("When do we sow?", "Never.", "In May."),),
    )
    said = "\n".join(weekly.lines(told, "pl"))
    assert "był trenowany, nie był oceniany: takich pytań było 3.)" in said
    assert "5 otwartych luk:" in said and "- Who waters \\*the\\* ferns?" in said
    assert "- When do we sow?\nprzedtem: Never.\nteraz: In May." in said


async def test_open_gaps_of_the_week_are_named_so_that_moderators_can_answer_them(
    database: Database, chronicle: Chronicle
) -> None:
    def unknown(question: str, **more: Any) -> Any:
        return chronicle.answered(question, answer=replace(ANSWER, answer_kind="gap"), **more)

    await unknown("Who has the *key*?")
    await unknown("who has the *key*?", by="bo")
    decided, old = await unknown("Is there a car park?"), await unknown("Of last month?")
    await unknown("Whispered?", by="cleo")
    await chronicle.answered("Answered?")
    await chronicle.date(old, datetime.now(UTC) - timedelta(days=30))
    member = await chronicle.member("cleo")
    async with database.session() as session:
        await review.decide(session, decided, "mo", "edit", answer="Behind the house.")
        await consent.opt_out(session, member)
    async with database.session(read_only=True) as session:
        told = await weekly.digest(session, chronicle.community_id, datetime.now(UTC))
    assert [gap.question for gap in told.gaps] == ["who has the *key*?"]
    english, polish = weekly.lines(told, "en"), weekly.lines(told, "pl")
    assert "- who has the \\*key\\*?" in english and "- who has the \\*key\\*?" in polish
    assert any(line.startswith("1 open gap:") for line in english)
    assert any(line.startswith("1 otwarta luka:") for line in polish)


async def test_examples_are_this_communitys_where_the_new_adapter_gained_most_and_least(
    database: Database, chronicle: Chronicle
) -> None:
    here = chronicle.community_id

    def answers(word: str, *losses: float) -> list[dict[str, Any]]:
        made = [
            Answer(f"Q{number}?", "R", f"{word} {number}", loss, turn=number, community=here)
            for number, loss in enumerate(losses, start=1)
        ]
        made.append(Answer("Theirs?", "R", word, losses[0] - 9, turn=99, community=here + 1))
        return cast(list[dict[str, Any]], storable(stored(made)))

    async with database.session() as session:
        run = Run(adapter_name="a", started_by="ada", state="promoted", finished_at=datetime.now(UTC))
        session.add(run)
        await session.flush()
        adapter = Adapter(
            name="a",
            version=1,
            folder="a/1",
            content_hash="0",
            base_model="tiny",
            base_revision="r1",
            run_id=run.id,
        )
        session.add(adapter)
        for subject, rows in (("base", answers("old", 3, 3, 3)), ("candidate", answers("new", 1, 4, 2))):
            session.add(Evaluation(run_id=run.id or 0, subject=subject, answers=rows))
    async with database.session(read_only=True) as session:
        told = await weekly.digest(session, here, datetime.now(UTC))
    assert told.examples == (Example("Q1?", "old 1", "new 1"), Example("Q2?", "old 2", "new 2"))
