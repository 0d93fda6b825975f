"""The conversations of one browser: listed, the one spoken in last first, searched, opened again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from nicegui import ui
from sqlmodel import col, exists, func, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from bot.console import texts
from bot.console.context import CONVERSATIONS, Console
from bot.console.layout import action, heading, showing_errors
from bot.console.visitor import Visitor
from bot.questions import Place
from feedback.tables import Community, Conversation, Turn

SHOWN: Final = 30
"""Conversations that are listed; searching finds the others."""


@dataclass(frozen=True)
class Talk:
    """A conversation, by the name that its browser has for it; `question` is the first that was asked."""

    name: str
    question: str
    asked_at: datetime


async def talks_of(session: AsyncSession, home: Place, browser: str, search: str = "") -> list[Talk]:
    """What was talked about in that browser, the newest first; `search` stands in a question or answer."""
    own = f"{CONVERSATIONS}{browser}/"
    spoken = (
        select(Conversation.external_id, func.min(Turn.id), func.max(Turn.id))
        .join(Community, col(Community.id) == Conversation.community_id)
        .join(Turn, col(Turn.conversation_id) == Conversation.id)
        .where(
            Community.platform == home.platform,
            Community.external_id == home.community,
            # a range, which the index of names has, where LIKE would read them all
            Conversation.external_id >= own,
            Conversation.external_id < f"{own}~",
            Turn.state != "erased",
        )
        .group_by(col(Conversation.id), col(Conversation.external_id))
        .order_by(func.max(Turn.id).desc())
        .limit(SHOWN)
    )
    if search := search.strip():
        said = or_(
            col(Turn.question).icontains(search, autoescape=True),
            col(Turn.answer).icontains(search, autoescape=True),
        )
        spoken = spoken.where(
            exists().where(col(Turn.conversation_id) == Conversation.id, said).correlate(Conversation)
        )
    rows = (await session.exec(spoken)).all()
    first = select(Turn).where(col(Turn.id).in_([begins for _, begins, _ in rows]))
    turns = {turn.id: turn for turn in (await session.exec(first)).all()}
    return [
        Talk(name.removeprefix(own), turns[begins].question, turns[begins].asked_at)
        for name, begins, _ in rows
        if begins in turns
    ]


class Conversations:
    """A dialog with the conversations; choosing one opens it in the chat."""

    def __init__(self, console: Console, visitor: Visitor) -> None:
        self._console = console
        self._visitor = visitor
        say = visitor.say
        with ui.dialog() as self._dialog, ui.element("div").classes("tl-card tl-dialog tl-talks"):
            heading(say(texts.CONVERSATIONS), 2)
            self._search = ui.input(say(texts.SEARCH)).classes("tl-text")
            self._search.props("outlined dense type=search debounce=200")
            self._search.on_value_change(showing_errors(self._show))
            self._list = ui.element("ul")
            with ui.element("div").classes("tl-actions"):
                action(say(texts.CLOSE), "o_close", self._dialog.close)

    async def open(self) -> None:
        """Read them and show them."""
        await self._show()
        self._dialog.open()

    async def _show(self) -> None:
        home = self._console.home_of(self._visitor)
        async with self._console.core.database.session(read_only=True) as session:
            found = await talks_of(session, home, self._visitor.browser, self._search.value or "")
        self._list.clear()
        with self._list:
            if not found:
                with ui.element("li"):
                    ui.label(self._visitor.say(texts.NO_CONVERSATIONS)).classes("tl-muted")
            for talk in found:
                with (
                    ui.element("li"),
                    ui.element("button").props("type=button").classes("tl-suggestion") as button,
                ):
                    ui.label(talk.question).classes("tl-clamp")
                    ui.label(f"{talk.asked_at:%Y-%m-%d %H:%M} UTC").classes("tl-muted")
                button.on("click", partial(self._choose, talk.name))

    def _choose(self, name: str) -> None:
        self._visitor.conversation = name
        self._visitor.remember_conversation()
        ui.navigate.reload()
