"""What a community is set to: safe at first, changed as a whole or not at all, audited."""

from __future__ import annotations

import pytest
from sqlmodel import select

from bot.access.actor import Actor
from bot.commands import settings
from bot.commands.settings import MOST_PERSONA, Changes
from bot.questions import Place
from feedback.database import Database
from feedback.errors import UsageError
from feedback.tables import Audit

MO = Actor("discord", "mo", "operator")
PLACE = Place("discord", "guild", "", "A guild")


async def test_a_new_community_is_set_to_what_is_safe(database: Database) -> None:
    found = await settings.view(database, PLACE)
    assert not found.training_allowed
    assert (found.adapter, found.own_channels, found.language) == ("base", (), "auto")


async def test_a_change_stays_and_says_who_made_it_without_repeating_the_persona(database: Database) -> None:
    changes = Changes(persona="You are a pirate.", own_channels=("7", "8"), cooldown_seconds=10)
    await settings.change(database, PLACE, changes, by=MO)
    found = await settings.view(database, PLACE)
    assert (found.persona, found.own_channels, found.cooldown_seconds) == (
        "You are a pirate.",
        ("7", "8"),
        10,
    )
    async with database.session(read_only=True) as session:
        entry = (await session.exec(select(Audit).where(Audit.action == "settings.change"))).one()
    assert entry.actor == MO.name and entry.detail["cooldown_seconds"] == 10
    assert "pirate" not in str(entry.detail)


async def test_what_is_empty_empties_and_what_is_unchanged_is_not_audited(database: Database) -> None:
    await settings.change(database, PLACE, Changes(log_channel="9"), by=MO)
    await settings.change(database, PLACE, Changes(log_channel="9"), by=MO)
    await settings.change(database, PLACE, Changes(log_channel=""), by=MO)
    assert (await settings.view(database, PLACE)).log_channel == ""
    async with database.session(read_only=True) as session:
        assert len((await session.exec(select(Audit).where(Audit.action == "settings.change"))).all()) == 2


@pytest.mark.parametrize(
    ("wrong", "allowed"),
    [
        (Changes(language="de"), "auto, en or pl"),
        (Changes(default_mode="loud"), "tldr"),
        (Changes(cooldown_seconds=-1), "0 to 3600"),
        (Changes(persona="x" * (MOST_PERSONA + 1)), "Shorten"),
    ],
)
async def test_a_wrong_value_changes_nothing_and_names_what_is_allowed(
    database: Database, wrong: Changes, allowed: str
) -> None:
    with pytest.raises(UsageError, match=allowed):
        await settings.change(database, PLACE, Changes(**{**vars(wrong), "log_channel": "9"}), by=MO)
    assert (await settings.view(database, PLACE)).log_channel == ""
