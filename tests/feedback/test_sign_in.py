"""Links that sign in once, and sessions that end."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from sqlmodel import select

from feedback import consent, sign_in
from feedback.database import Database
from feedback.sign_in import Identity
from feedback.tables import ConsoleSession, Member, SignInLink, now
from tests.chronicle import Chronicle

ADA = Identity("discord", "ada", "moderator", external_id="1001")
GRACE = Identity("telegram", "grace", "administrator", external_id="7")


async def _link(database: Database, who: Identity = ADA, **more: timedelta) -> str:
    async with database.session() as session:
        return await sign_in.issue_link(session, who, **more)


async def _redeem(database: Database, token: str, **more: timedelta) -> str | None:
    async with database.session() as session:
        return await sign_in.redeem(session, token, **more)


async def _find(database: Database, token: str) -> ConsoleSession | None:
    async with database.session(read_only=True) as session:
        return await sign_in.find(session, token)


async def test_a_link_signs_its_asker_in_once(database: Database) -> None:
    link = await _link(database)
    token = await _redeem(database, link)
    assert token is not None
    found = await _find(database, token)
    assert found is not None
    assert sign_in.identity_of(found) == ADA
    assert await _redeem(database, link) is None


async def test_of_several_who_use_a_link_at_once_one_gets_in(database: Database) -> None:
    link = await _link(database)
    got = await asyncio.gather(*(_redeem(database, link) for _ in range(5)))
    assert len([token for token in got if token]) == 1


async def test_an_old_link_and_one_that_nobody_issued_sign_nobody_in(database: Database) -> None:
    assert await _redeem(database, await _link(database, lasts=timedelta(0))) is None
    assert await _redeem(database, "made-up") is None
    assert await _redeem(database, "") is None


async def test_a_new_link_voids_the_askers_last_one_and_nobody_elses(database: Database) -> None:
    first, others = await _link(database), await _link(database, GRACE)
    await _link(database)
    assert await _redeem(database, first) is None
    assert await _redeem(database, others) is not None


async def test_no_token_stands_in_the_record(database: Database) -> None:
    link = await _link(database)
    token = await _redeem(database, link) or ""
    async with database.session(read_only=True) as session:
        rows = [*(await session.exec(select(SignInLink))), *(await session.exec(select(ConsoleSession)))]
    assert len(rows) == 2
    assert not [row for row in rows if link in str(row.model_dump()) or token in str(row.model_dump())]


async def test_a_session_expires_and_can_be_ended(database: Database) -> None:
    brief = await _redeem(database, await _link(database), lasts=timedelta(0)) or ""
    assert await _find(database, brief) is None
    token = await _redeem(database, await _link(database)) or ""
    found = await _find(database, token)
    assert found is not None
    async with database.session() as session:
        assert await sign_in.end(session, found.id or 0, "revoked", by="terminal:root")
    async with database.session() as session:
        assert not await sign_in.end(session, found.id or 0, "revoked", by="terminal:root")
    assert await _find(database, token) is None


async def test_open_sessions_are_everybodys_or_one_persons(database: Database) -> None:
    for who in (ADA, GRACE):
        await _redeem(database, await _link(database, who))
    async with database.session(read_only=True) as session:
        everybodys = await sign_in.open_sessions(session)
        own = await sign_in.open_sessions(session, GRACE.name)
    assert {sign_in.identity_of(row) for row in everybodys} == {ADA, GRACE}
    assert [sign_in.identity_of(row) for row in own] == [GRACE]


async def test_who_is_forgotten_is_signed_out_and_no_id_of_theirs_is_left(
    database: Database, chronicle: Chronicle
) -> None:
    member = await chronicle.member("ada")
    async with database.session(read_only=True) as session:
        row = await session.get_one(Member, member)
    who = Identity(row.platform, row.pseudonym, "moderator", external_id="1001")
    token = await _redeem(database, await _link(database, who)) or ""
    await _link(database, who)
    async with database.session() as session:
        await consent.forget(session, member)
    assert await _find(database, token) is None
    async with database.session(read_only=True) as session:
        assert not (await session.exec(select(SignInLink.id))).all()
        assert not (await session.exec(select(ConsoleSession.id))).all()


async def test_what_ended_long_ago_is_deleted_and_what_lasts_stays(database: Database) -> None:
    await _redeem(database, await _link(database), lasts=timedelta(0))
    token = await _redeem(database, await _link(database)) or ""
    async with database.session() as session:
        await sign_in.delete_old(session, now() + timedelta(minutes=1))
    assert await _find(database, token) is not None
    async with database.session(read_only=True) as session:
        assert len((await session.exec(select(ConsoleSession.id))).all()) == 1
