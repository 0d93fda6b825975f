"""Signing in to the console: a link that only its asker gets, and a session that ends with their role.

A session may do what its role allows, and a platform that vouched for the role is asked again while the
session lasts. What the tokens are and how they are kept is `feedback.sign_in`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final, cast

import structlog

from bot.access.actor import ROLES, Actor, Role
from bot.core import Core
from bot.errors import ConsoleNotReachable
from feedback import sign_in
from feedback.database import Database
from feedback.sign_in import Identity
from feedback.tables import Community, ConsoleSession

CHECK_S: Final = 60.0
"""How often the platforms are asked whether people who are signed in still have their role."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class SignedIn:
    """Somebody with an open session. `community` names theirs to a platform, both "" where it is none.

    `external_id` is who they are there, and "" where no platform knows them.
    """

    session_id: int
    actor: Actor
    external_id: str
    community: str
    community_name: str


async def link(database: Database, console_url: str, who: Actor, *, external_id: str = "") -> str:
    """The address that signs this person in, once. Raises ConsoleNotReachable."""
    if not console_url:
        raise ConsoleNotReachable
    async with database.session() as session:
        token = await sign_in.issue_link(
            session, Identity(who.platform, who.pseudonym, who.role, who.community_id, external_id)
        )
    # behind the #, the token reaches no server's log and no link preview
    return f"{console_url.rstrip('/')}/sign-in#{token}"


async def signed_in(core: Core, token: str) -> SignedIn | None:
    """Whose session that is, while it lasts."""
    async with core.database.session(read_only=True) as session:
        row = await sign_in.find(session, token)
        if row is None:
            return None
        community = await session.get(Community, row.community_id) if row.community_id else None
    if core.clock() - row.seen_at >= sign_in.SEEN_EVERY:
        async with core.database.session() as session:
            await sign_in.note_seen(session, row.id or 0)
    return SignedIn(
        row.id or 0,
        actor_of(row),
        row.external_id,
        community.external_id if community else "",
        community.name if community else "",
    )


async def lasts(core: Core, token: str) -> bool:
    """Whether the session with that token lasts; to look at it is not to use it."""
    async with core.database.session(read_only=True) as session:
        return await sign_in.find(session, token) is not None


def actor_of(row: ConsoleSession) -> Actor:
    """Who the session acts as."""
    return Actor(row.platform, row.pseudonym, cast(Role, row.role), row.community_id)


async def keep_checking(core: Core) -> None:
    """Ask the platforms again and again; ends only when it is cancelled."""
    while True:
        await asyncio.sleep(CHECK_S)
        await check_roles(core)


async def check_roles(core: Core) -> list[int]:
    """End the sessions of people who lost their role, or some of it; which ones.

    A lesser role ends the session too, since pages that are open were built for the greater one. A platform
    that cannot be asked now changes nothing: the session expires by itself.
    """
    async with core.database.session(read_only=True) as session:
        rows = await sign_in.open_sessions(session)
        places = {
            row.community_id: await session.get_one(Community, row.community_id)
            for row in rows
            if row.community_id is not None
        }
    ended = []
    for row in rows:
        role_of = core.role_of.get(row.platform)
        if role_of is None or not row.external_id or row.community_id is None:
            continue
        try:
            role = await role_of(row.external_id, places[row.community_id].external_id)
        except Exception as error:  # whatever the platform's library raises: the session is left as it is
            log.warning("a role could not be asked for", platform=row.platform, why=type(error).__name__)
            continue
        if role == row.role:
            continue
        async with core.database.session() as session:
            if role is not None and ROLES.index(cast(Role, role)) > ROLES.index(cast(Role, row.role)):
                await sign_in.change_role(session, row.id or 0, role)
            elif await sign_in.end(session, row.id or 0, "role taken away", by=row.platform):
                ended.append(row.id or 0)
    return ended
