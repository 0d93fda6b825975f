"""`thumbloop console`: a link for the operator, who is signed in, and ending it."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import pytest

from feedback import sign_in
from feedback.database import Database
from tests.bot.cli.conftest import Thumbloop


async def _redeem(url: str, token: str) -> str | None:
    database = Database(url)
    try:
        async with database.session() as session:
            return await sign_in.redeem(session, token, browser="Firefox")
    finally:
        await database.close()


def test_the_operator_signs_in_by_a_link_and_ends_a_session(
    thumbloop: Thumbloop, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THUMBLOOP_RECORD__DATABASE_URL", database_url)
    monkeypatch.setenv("THUMBLOOP_WEB__PUBLIC_URL", "https://example.org/bot/")
    link = thumbloop("console", "link").out.strip()
    assert link.startswith("https://example.org/bot/sign-in#")
    assert asyncio.run(_redeem(database_url, urlsplit(link).fragment))
    (session,) = thumbloop("console", "sessions", "--json").json
    assert (session["role"], session["browser"]) == ("operator", "Firefox")
    assert "token_hash" not in session
    assert thumbloop("console", "end", session["id"]).status == 0
    assert "Nobody is signed in" in thumbloop("console", "sessions").out
    again = thumbloop("console", "end", session["id"])
    assert (again.status, "thumbloop console sessions" in again.err) == (1, True)


def test_without_an_address_for_others_there_is_nothing_to_sign_in_to(thumbloop: Thumbloop) -> None:
    refused = thumbloop("console", "link")
    assert refused.status == 1
    assert "web.public_url" in refused.err
