"""The weekly digest: what it says, in both languages, and that each week has one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bot import digest as weekly
from bot.chat import digest
from bot.core import Core
from bot.digest import Digest
from feedback import consent, journal, review
from feedback.database import Database
from feedback.statistics import Counts
from tests.bot.assembly import core_of
from tests.chronicle import ANSWER, Chronicle
from tests.conftest import SQLITE

MONDAY = datetime(2030, 6, 3, 10, tzinfo=UTC)
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
    assert told.gaps == ("who has the *key*?",)
    english, polish = weekly.lines(told, "en"), weekly.lines(told, "pl")
    assert "- who has the \\*key\\*?" in english and "- who has the \\*key\\*?" in polish
    assert any(line.startswith("1 open gap:") for line in english)
    assert any(line.startswith("1 otwarta luka:") for line in polish)


@SQLITE
async def test_each_week_has_one_digest_from_monday_morning_on(database: Database, tmp_path: Path) -> None:
    async with database.session() as session:
        guild = await journal.community(session, "discord", "77", name="Guild")
        guild.log_channel, guild.language = "88", "pl"
        guild.created_at = MONDAY - timedelta(days=30)
        session.add(guild)
        await journal.community(session, "discord", "78", name="Without a channel")
    core = core_of(database, tmp_path)
    (one,) = await digest.due(_at(core, MONDAY), "discord")
    assert (one.community, one.channel) == ("77", "88") and "Ostatnie siedem dni" in one.text
    await digest.note_sent(_at(core, MONDAY), "discord", one)
    for later in (timedelta(0), timedelta(days=6), timedelta(days=7) - timedelta(hours=2)):
        assert await digest.due(_at(core, MONDAY + later), "discord") == []
    assert len(await digest.due(_at(core, MONDAY + timedelta(days=7)), "discord")) == 1


def _at(core: Core, moment: datetime) -> Core:
    return replace(core, clock=lambda: moment)
