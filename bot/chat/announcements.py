"""What moderators are told without asking: the weekly digest, what became of adapters, a queue that is full.

Each announcement goes to the channel that the community's settings name, in the community's language, with
buttons that lead to what it speaks of. What was told is remembered in the record, so that each is told once,
whichever process does it. Leaves to others: sending, and looking every half-minute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import or_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from bot import digest, texts
from bot.chat.button_codes import ButtonCode
from bot.chat.buttons import Button
from bot.core import Core
from bot.digest import Digest
from bot.texts import Text
from feedback import platform_state, statistics
from feedback.tables import Adapter, Community, Deployment, Run
from feedback.words import LANGUAGES, Language, Platform
from training.adapters import registry
from training.run import lifecycle

HOUR: Final = 9
"""UTC hour of Monday from which the digest is due."""
LATE: Final = timedelta(hours=1)
"""How old news may be that a community gets as its first."""
LATELY: Final = timedelta(days=30)
SETTLED: Final = timedelta(seconds=10)
"""Age from which an event is told: by then the transaction that wrote it down has ended."""
MOST_REASON: Final = 700
"""Characters of a reason that are told."""
FULL: Final = 50
"""Waiting answers by which a queue is full; that is told once a week."""
_DIGEST: Final = "digest:"
_FULL: Final = "full:"
_NEWS: Final = "news:"
_OUTCOMES: Final[dict[str, Text]] = {
    "promoted": texts.NEWS_PROMOTED,
    "rolled back": texts.NEWS_ROLLED_BACK,
    "undecided": texts.NEWS_UNDECIDED,
}


@dataclass(frozen=True)
class Announcement:
    """Something to tell: the platform's ids of the community and the channel, Markdown, rows of buttons.

    `key` and `value` are what is remembered once it is told.
    """

    community: str
    channel: str
    text: str
    buttons: tuple[tuple[Button, ...], ...]
    key: str
    value: str


@dataclass(frozen=True)
class _Event:
    """What became of an adapter: when, whose deployment (None is everybody's), the words, and the reason."""

    at: datetime
    community_id: int | None
    text: Text
    parts: dict[str, object]
    reason: Mapping[Language, str]


async def due(core: Core, platform: Platform) -> list[Announcement]:
    """What is to be told now on that platform, oldest first within a community."""
    moment = core.clock()
    found: list[Announcement] = []
    async with core.database.session(read_only=True) as session:
        communities = (
            await session.exec(
                select(Community).where(Community.platform == platform, col(Community.log_channel) != "")
            )
        ).all()
        if not communities:
            return []
        told = await platform_state.recall_all(session, platform, _DIGEST, _NEWS, _FULL)
        events = await _events(session, moment - digest.WEEK, moment - SETTLED)
        full, week = await statistics.full_queues(session, platform, FULL), week_of(moment)
        # next week's counts, too: it was told before the clock was set back
        this_week = {week, week_of(moment + digest.WEEK)}
        for community in communities:
            found += _news(community, events, told, moment - SETTLED)
            if community.id in full and told.get(_FULL + community.external_id) not in this_week:
                found.append(_queue_full(community, week))
            sent = told.get(_DIGEST + community.external_id)
            if sent in this_week or (sent is None and community.created_at > moment - digest.WEEK):
                continue
            found.append(_digest(community, await digest.digest(session, community.id or 0, moment), week))
    return found


@dataclass(frozen=True)
class Told:
    """One event in words: when, what, and the reason as the record has it."""

    at: datetime
    what: str
    reason: str


async def lately(core: Core, community_id: int | None, language: Language, *, most: int = 10) -> list[Told]:
    """What runs and rules did to adapters in the last 30 days, newest first; None is for whoever sees all."""
    moment = core.clock()
    async with core.database.session(read_only=True) as session:
        events = await _events(session, moment - LATELY, moment)
    own = [event for event in events if community_id is None or event.community_id in (None, community_id)]
    return [
        Told(event.at, _words(event, language), event.reason[language]) for event in reversed(own[-most:])
    ]


async def note_told(core: Core, platform: Platform, one: Announcement) -> None:
    """Remember that it was told, or that it cannot be."""
    async with core.database.session() as session:
        await platform_state.remember(session, platform, one.key, one.value)


def week_of(moment: datetime) -> str:
    """The digest's week, which begins on Monday at `HOUR`."""
    year, week, _ = (moment - timedelta(hours=HOUR)).isocalendar()
    return f"{year}-W{week:02}"


def _digest(community: Community, told: Digest, week: str) -> Announcement:
    language = _language(community)
    lead = (
        Button(ButtonCode("queue"), texts.TO_QUEUE.say(language)),
        Button(ButtonCode("adapters"), texts.TO_ADAPTERS.say(language)),
    )
    gaps = tuple(
        Button(ButtonCode("card", gap.turn_id), texts.TO_GAP.say(language, number=number))
        for number, gap in enumerate(told.gaps, start=1)
    )
    return Announcement(
        community.external_id,
        community.log_channel,
        "\n".join(digest.lines(told, language)),
        (lead, gaps) if gaps else (lead,),
        _DIGEST + community.external_id,
        week,
    )


def _queue_full(community: Community, week: str) -> Announcement:
    language = _language(community)
    button = Button(ButtonCode("queue"), texts.TO_QUEUE.say(language))
    text = texts.QUEUE_FULL.say(language, waiting=FULL)
    key = _FULL + community.external_id
    return Announcement(community.external_id, community.log_channel, text, ((button,),), key, week)


def _news(
    community: Community, events: list[_Event], told: dict[str, str], until: datetime
) -> list[Announcement]:
    """One announcement of all that is new to that community, or none."""
    key, language = _NEWS + community.external_id, _language(community)
    since = datetime.fromisoformat(told[key]) if key in told else max(community.created_at, until - LATE)
    new = [
        event for event in events if since < event.at <= until and event.community_id in (None, community.id)
    ]
    if not new:
        return []
    lines = []
    for event in new:
        lines.append(_words(event, language))
        if event.reason[language]:
            lines.append(digest.shortened(event.reason[language], MOST_REASON))
    button = Button(ButtonCode("adapters"), texts.TO_ADAPTERS.say(language))
    last = max(event.at for event in new).isoformat()
    return [
        Announcement(community.external_id, community.log_channel, "\n".join(lines), ((button,),), key, last)
    ]


async def _events(session: AsyncSession, since: datetime, until: datetime) -> list[_Event]:
    """What runs and rules did to adapters between those moments, in order; what people did they know."""
    found: list[_Event] = []
    rows = await session.exec(
        select(Deployment, Adapter, Run)
        .join(Adapter, col(Adapter.id) == Deployment.adapter_id)
        .outerjoin(Run, col(Run.id) == Adapter.run_id)
        .where(or_(col(Deployment.since) > since, col(Deployment.until) > since))
    )
    for row, adapter, run in rows.all():
        label = registry.label(adapter)
        if row.decided_by.startswith("run "):
            began = texts.NEWS_CANARY if row.share < 1 else texts.NEWS_SERVES
            parts: dict[str, object] = {"adapter": label, "share": f"{row.share:.0%}"}
            found.append(
                _Event(
                    row.since,
                    row.community_id,
                    began,
                    parts,
                    _verdict(run) if run and row.reason == run.verdict else _same(row.reason),
                )
            )
        if row.until is not None and row.outcome in _OUTCOMES:
            text = _OUTCOMES[row.outcome]
            found.append(
                _Event(
                    row.until,
                    row.community_id,
                    text,
                    {"adapter": label},
                    {one: row.outcome_reasons.get(one, row.outcome_reason) for one in LANGUAGES},
                )
            )
    runs = await session.exec(
        select(Run, Adapter)
        .outerjoin(Adapter, col(Adapter.run_id) == Run.id)
        .where(col(Run.finished_at) > since, col(Run.state).in_(("rejected", "failed")))
    )
    for run, made in runs.all():
        text = texts.NEWS_REJECTED if run.state == "rejected" else texts.NEWS_FAILED
        label = registry.label(made) if made is not None else run.adapter_name
        assert run.finished_at is not None, "asked for"
        found.append(_Event(run.finished_at, None, text, {"adapter": label, "run": run.id}, _verdict(run)))
    return sorted((event for event in found if since < event.at <= until), key=lambda event: event.at)


def _verdict(run: Run) -> dict[Language, str]:
    return {language: lifecycle.verdict(run, language) for language in LANGUAGES}


def _same(text: str) -> dict[Language, str]:
    return dict.fromkeys(LANGUAGES, text)


def _words(event: _Event, language: Language) -> str:
    return event.text.say(language, **event.parts)


def _language(community: Community) -> Language:
    return "pl" if community.language == "pl" else "en"
