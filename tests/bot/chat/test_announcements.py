"""What moderators are told without asking: once, in their language, where they said."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from bot.chat import announcements
from bot.chat.announcements import Announcement
from bot.core import Core
from feedback import journal
from feedback.database import Database
from feedback.tables import Adapter, Community, Deployment, Run
from feedback.text import Text
from feedback.words import Platform
from tests.bot.assembly import core_of
from tests.chronicle import ANSWER
from tests.conftest import SQLITE
from training.adapters import deployments, rollout
from training.examination import reasons
from training.examination.reasons import Reason
from training.run import lifecycle

SLOW = Text("Rolled back: it is slow.", "Wycofany: jest powolny.")
MONDAY = datetime(2030, 6, 3, 10, tzinfo=UTC)
AGES_AGO = timedelta(days=30)

pytestmark = SQLITE


@pytest.fixture
async def guild(database: Database) -> Community:
    return await _community(database, "discord", "77", language="pl", log_channel="88")


@pytest.fixture
async def adapter(database: Database) -> Adapter:
    made = Adapter(
        name="support",
        version=1,
        folder="support/1",
        content_hash="0",
        base_model="tiny",
        base_revision="r1",
        state="promoted",
    )
    async with database.session() as session:
        session.add(made)
    return made


async def test_each_week_has_one_digest_from_monday_morning_on(
    database: Database, guild: Community, tmp_path: Path
) -> None:
    await _community(database, "discord", "78", log_channel="")
    core = core_of(database, tmp_path)
    (one,) = await announcements.due(_at(core, MONDAY), "discord")
    assert (one.community, one.channel) == ("77", "88") and "Ostatnie siedem dni" in one.text
    assert [button.code.action for line in one.buttons for button in line] == ["queue", "adapters"]
    await announcements.note_told(_at(core, MONDAY), "discord", one)
    for later in (timedelta(0), timedelta(days=6), timedelta(days=7) - timedelta(hours=2)):
        assert await announcements.due(_at(core, MONDAY + later), "discord") == []
    assert len(await announcements.due(_at(core, MONDAY + timedelta(days=7)), "discord")) == 1


async def test_a_clock_set_back_over_monday_morning_tells_no_week_again(
    database: Database, guild: Community, tmp_path: Path
) -> None:
    core = core_of(database, tmp_path)
    await _answered(database, guild, announcements.FULL)
    for one in await announcements.due(_at(core, MONDAY), "discord"):
        await announcements.note_told(core, "discord", one)
    assert await announcements.due(_at(core, MONDAY - timedelta(hours=2)), "discord") == []


async def test_what_a_run_and_the_rules_did_is_told_once_in_order_with_the_reason(
    database: Database, guild: Community, adapter: Adapter, tmp_path: Path
) -> None:
    core = core_of(database, tmp_path)
    async with database.session() as session:
        row = await deployments.begin_canary(session, adapter, 0.25, by="run 4", reason="Better on 20 of 20.")
    (began,) = await _news(core)
    assert "**support@1** odpowiada od teraz na próbę w 25% rozmów" in began.text
    assert "Better on 20 of 20." in began.text
    await announcements.note_told(core, "discord", began)
    assert await _news(core) == []
    async with database.session() as session:
        await rollout.withdraw(session, await _again(session, row), adapter, SLOW)
    (ended,) = await _news(core)
    assert "samoczynnie wycofany" in ended.text and "Wycofany: jest powolny." in ended.text
    assert "na próbę" not in ended.text


async def test_what_a_person_did_is_no_news(
    database: Database, guild: Community, adapter: Adapter, tmp_path: Path
) -> None:
    async with database.session() as session:
        await deployments.switch(session, adapter, by="ada")
    assert await _news(core_of(database, tmp_path)) == []


async def test_another_communitys_canary_is_told_to_that_one_alone(
    database: Database, guild: Community, adapter: Adapter, tmp_path: Path
) -> None:
    other = await _community(database, "telegram", "-9", log_channel="0")
    async with database.session() as session:
        await deployments.begin_canary(session, adapter, 0.5, community_id=other.id, by="run 4")
    core = core_of(database, tmp_path)
    assert await _news(core) == []
    (told,) = await _news(core, "telegram")
    assert told.community == "-9" and "as a canary" in told.text


async def test_a_run_that_failed_or_was_rejected_is_told(
    database: Database, guild: Community, tmp_path: Path
) -> None:
    async with database.session() as session:
        for state, verdict in (("rejected", "Two of ten got worse."), ("failed", "The disk is full.")):
            session.add(
                Run(
                    adapter_name="support",
                    started_by="schedule",
                    state=state,
                    verdict=verdict,
                    finished_at=datetime.now(UTC),
                )
            )
    (told,) = await _news(core_of(database, tmp_path))
    assert "**support** odrzucony" in told.text and "Two of ten got worse." in told.text
    assert "się nie powiódł" in told.text and "The disk is full." in told.text


async def test_why_a_run_rejected_its_adapter_is_told_in_the_community_s_language(
    database: Database, guild: Community, tmp_path: Path
) -> None:
    because = reasons.stored([Reason("too few elsewhere", {"examination": "recall", "number": 3})])
    async with database.session() as session:
        run = Run(adapter_name="support", started_by="schedule")
        session.add(run)
        await session.flush()
        await lifecycle.end(session, run.id or 0, "rejected", "Rejected: such questions: 3.", because)
    (told,) = await _news(core_of(database, tmp_path))
    assert "Odrzucony: Pytany innymi słowami" in told.text and "takich pytań było 3." in told.text


async def test_the_console_lists_what_happened_lately_the_newest_first(
    database: Database, guild: Community, adapter: Adapter, tmp_path: Path
) -> None:
    async with database.session() as session:
        row = await deployments.begin_canary(session, adapter, 0.25, by="run 4", reason="Better on 20 of 20.")
        await rollout.withdraw(session, await _again(session, row), adapter, SLOW)
    core = _at(core_of(database, tmp_path), datetime.now(UTC) + timedelta(seconds=1))
    ended, began = await announcements.lately(core, guild.id, "en")
    assert "taken out of service" in ended.what and ended.reason == "Rolled back: it is slow."
    assert "as a canary" in began.what and began.at <= ended.at
    assert [one.what for one in await announcements.lately(core, None, "en", most=1)] == [ended.what]


async def test_a_full_queue_is_told_once_a_week(database: Database, guild: Community, tmp_path: Path) -> None:
    core = core_of(database, tmp_path)
    await _answered(database, guild, announcements.FULL - 1)
    assert await _full(core, MONDAY) == []
    await _answered(database, guild, 1)
    (told,) = await _full(core, MONDAY)
    assert "Kolejka oceny jest pełna" in told.text
    assert [button.code.action for line in told.buttons for button in line] == ["queue"]
    await announcements.note_told(core, "discord", told)
    assert await _full(core, MONDAY + timedelta(days=1)) == []
    assert len(await _full(core, MONDAY + timedelta(days=7))) == 1


async def _full(core: Core, moment: datetime) -> list[Announcement]:
    due = await announcements.due(_at(core, moment), "discord")
    return [one for one in due if one.key.startswith("full:")]


async def _answered(database: Database, community: Community, number: int) -> None:
    """So many more answers of that community that wait."""
    async with database.session() as session:
        place = await journal.conversation(session, community.id or 0, "talk")
        for _ in range(number):
            asked = await journal.ask(
                session,
                community_id=community.id or 0,
                conversation_id=place.id or 0,
                member_id=None,
                external_id=secrets.token_hex(8),
                question="Why?",
                mode="default",
                language="pl",
            )
            await journal.record_answer(session, asked.turn.id or 0, ANSWER)


async def _community(database: Database, platform: Platform, key: str, **settings: str) -> Community:
    async with database.session() as session:
        row = await journal.community(session, platform, key, name="Guild")
        row.created_at = datetime.now(UTC) - AGES_AGO
        for name, value in settings.items():
            setattr(row, name, value)
        session.add(row)
        return row


async def _news(core: Core, platform: Platform = "discord") -> list[Announcement]:
    """What is news half a minute from now."""
    soon = _at(core, datetime.now(UTC) + timedelta(seconds=30))
    return [one for one in await announcements.due(soon, platform) if one.key.startswith("news:")]


def _at(core: Core, moment: datetime) -> Core:
    return replace(core, clock=lambda: moment)


async def _again(session: AsyncSession, row: Deployment) -> Deployment:
    found = await session.get(Deployment, row.id)
    assert found is not None
    return found
