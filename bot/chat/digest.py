"""When the weekly digest is due in a community's log channel, so that each week has one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlmodel import col, select

from bot import digest
from bot.core import Core
from feedback import platform_state
from feedback.tables import Community
from feedback.words import Language, Platform

HOUR: Final = 9
"""UTC hour of Monday from which the digest is due."""


@dataclass(frozen=True)
class DueDigest:
    """A digest to send: the platform's ids of the community and of the channel, and the text, in Markdown."""

    community: str
    channel: str
    text: str


async def due(core: Core, platform: Platform) -> list[DueDigest]:
    """The digests of that platform that are due now and have not been sent."""
    moment = core.clock()
    week = week_of(moment)
    found: list[DueDigest] = []
    async with core.database.session(read_only=True) as session:
        communities = select(Community).where(
            Community.platform == platform, col(Community.log_channel) != ""
        )
        for community in (await session.exec(communities)).all():
            sent = await platform_state.recall(session, platform, _key(community.external_id))
            if sent == week or (sent is None and community.created_at > moment - digest.WEEK):
                continue
            told = await digest.digest(session, community.id or 0, moment)
            language: Language = "pl" if community.language == "pl" else "en"
            text = "\n".join(digest.lines(told, language))
            found.append(DueDigest(community.external_id, community.log_channel, text))
    return found


async def note_sent(core: Core, platform: Platform, one: DueDigest) -> None:
    """Remember that this week's digest was sent there, or that it cannot be."""
    async with core.database.session() as session:
        await platform_state.remember(session, platform, _key(one.community), week_of(core.clock()))


def week_of(moment: datetime) -> str:
    """The digest's week, which begins on Monday at `HOUR`."""
    year, week, _ = (moment - timedelta(hours=HOUR)).isocalendar()
    return f"{year}-W{week:02}"


def _key(community: str) -> str:
    return f"digest:{community}"
