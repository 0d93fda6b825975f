"""Naming a community: by its id, as platform:id, or by its name where only one has it."""

from __future__ import annotations

from sqlmodel import col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from feedback.errors import NotFound, UsageError
from feedback.tables import Community

MOST_SHOWN = 10
NONE_YET = (
    "None has been seen yet; `thumbloop serve` makes the console's, and a question the one it is asked in."
)


async def find_community(session: AsyncSession, named: str) -> Community:
    """The community. Raises NotFound, naming those that exist, and UsageError when two have the name."""
    platform, _, external_id = named.partition(":")
    # many have no name, and none of them is meant by the empty one
    same = [(col(Community.name) == named) & (col(Community.name) != ""), col(Community.external_id) == named]
    if external_id:
        same.append((col(Community.platform) == platform) & (col(Community.external_id) == external_id))
    # SQLite takes 64 bits, PostgreSQL 32; a longer number is a platform's id, looked for above
    if named.isascii() and named.isdigit() and len(named) < 10:
        same.append(col(Community.id) == int(named))
    found = (await session.exec(select(Community).where(or_(*same)).order_by(col(Community.id)))).all()
    if len(found) == 1:
        return found[0]
    exact = [community for community in found if str(community.id) == named]
    if exact:
        return exact[0]
    if found:
        raise UsageError(
            f"{len(found)} communities are called {named}.",
            f"Name one of them by its id: {', '.join(describe(community) for community in found)}.",
        )
    there = await _those_there(session)
    raise NotFound("community", named, f"There are: {there}." if there else NONE_YET)


async def only_community(session: AsyncSession) -> Community:
    """The community that is meant where none is named. Raises UsageError unless there is exactly one."""
    found = (await session.exec(select(Community).limit(2))).all()
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError("No community is named.", NONE_YET)
    raise UsageError("No community is named.", f"Name one of them by its id: {await _those_there(session)}.")


async def _those_there(session: AsyncSession) -> str:
    known = (await session.exec(select(Community).order_by(col(Community.id)).limit(MOST_SHOWN))).all()
    return ", ".join(describe(community) for community in known)


def describe(community: Community) -> str:
    """A community in a few words: id, platform and platform's id."""
    return f"{community.id} ({community.platform}:{community.external_id})"
