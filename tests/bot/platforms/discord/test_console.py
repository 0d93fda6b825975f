"""/console on Discord: the link is its asker's, in their role, and the role is asked for again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import discord
import pytest

from bot.core import Core
from feedback import sign_in
from feedback.database import Database
from feedback.tables import ConsoleSession
from tests.bot.assembly import core_of
from tests.bot.platforms.discord.conftest import Town, said


@pytest.fixture
def core(database: Database, tmp_path: Path) -> Core:
    return replace(core_of(database, tmp_path), console_url="https://bot.example.org")


async def signed_in(town: Town, link: str) -> ConsoleSession:
    """The session that the link opens."""
    async with town.database.session() as session:
        token = await sign_in.redeem(session, urlsplit(link).fragment) or ""
        found = await sign_in.find(session, token)
        assert found is not None
        return found


async def test_a_moderator_gets_a_link_for_their_server_that_nobody_else_sees(town: Town) -> None:
    shown = await town.moderator.slash(town.channel, "console")
    assert shown.response is not None and shown.response.flags.ephemeral
    link = said(shown).split()[-1]
    assert link.startswith("https://bot.example.org/sign-in#")
    session = await signed_in(town, link)
    assert (session.platform, session.role) == ("discord", "moderator")
    assert session.community_id == (await town.community()).id
    assert str(town.moderator.id) not in session.pseudonym


async def test_a_member_is_signed_in_as_no_more_than_a_member(town: Town) -> None:
    link = said(await town.ada.slash(town.channel, "console")).split()[-1]
    assert (await signed_in(town, link)).role == "member"


async def test_discord_is_asked_for_somebodys_role_as_it_is_now(town: Town) -> None:
    role_of = town.core.role_of["discord"]
    here = str(town.guild.id)
    assert await role_of(str(town.moderator.id), here) == "moderator"
    assert await role_of(str(town.ada.id), here) == "member"
    assert await role_of("1", here) is None
    with pytest.raises(discord.DiscordException):
        await role_of(str(town.ada.id), "1")
