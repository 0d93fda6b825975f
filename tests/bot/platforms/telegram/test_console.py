"""/console on Telegram: the link goes to its asker's private chat, and the role is asked for again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bot.core import Core
from feedback import sign_in
from feedback.database import Database
from feedback.tables import ConsoleSession
from tests.bot.assembly import core_of
from tests.bot.platforms.telegram.conftest import ADA, ADMIN, GARDEN, OPERATOR, Town
from tests.doubles.telegram_server import Fault

GROUP = GARDEN["id"]


@pytest.fixture
def core(database: Database, tmp_path: Path) -> Core:
    return replace(core_of(database, tmp_path), console_url="https://bot.example.org")


async def signed_in(town: Town, chat: int) -> ConsoleSession:
    """The session that the link opens which was sent to that chat."""
    message = await town.heard("signs you in", chat)
    link = next(word for word in message["text"].split() if word.startswith("https://"))
    async with town.database.session() as session:
        token = await sign_in.redeem(session, urlsplit(link).fragment) or ""
        found = await sign_in.find(session, token)
        assert found is not None
        return found


async def test_in_a_group_the_link_is_sent_privately(town: Town) -> None:
    town.api.write("/console", by=ADMIN, chat=GARDEN)
    await town.heard("sent you the link privately", GROUP)
    session = await signed_in(town, ADMIN["id"])
    assert (session.platform, session.role) == ("telegram", "administrator")
    assert session.community_id == (await town.community(str(GROUP))).id
    assert not [one for one in town.api.said(GROUP) if "sign-in" in one["text"]]


async def test_who_never_wrote_to_the_bot_is_told_to_start_it(town: Town) -> None:
    town.api.faults.append(Fault("sendMessage", 403, "Forbidden: bot can't initiate", ADMIN["id"]))
    town.api.write("/console", by=ADMIN, chat=GARDEN)
    await town.heard("Press Start", GROUP)


async def test_in_a_private_chat_a_member_is_a_member_and_an_operator_everywhere(town: Town) -> None:
    town.api.write("/console", by=ADA)
    assert (await signed_in(town, ADA["id"])).role == "member"
    town.api.write("/console", by=OPERATOR)
    session = await signed_in(town, OPERATOR["id"])
    assert (session.role, session.community_id) == ("operator", None)


async def test_telegram_is_asked_for_somebodys_role_as_it_is_now(town: Town) -> None:
    role_of = town.core.role_of["telegram"]
    assert await role_of(str(ADMIN["id"]), str(GROUP)) == "administrator"
    assert await role_of(str(ADA["id"]), str(GROUP)) == "member"
    town.api.left.add((GROUP, ADA["id"]))
    assert await role_of(str(ADA["id"]), str(GROUP)) is None
