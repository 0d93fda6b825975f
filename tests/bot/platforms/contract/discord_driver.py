"""A Discord server's channel, driven through simcord."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import discord

from tests.bot.platforms.contract.driver import Ability, Decision, Thumb
from tests.bot.platforms.discord.conftest import Town, said

THUMBS: Mapping[Thumb, str] = {"up": "👍", "down": "👎"}


class DiscordDriver:
    """Ada asks in the channel; simcord waits after each of her steps until the bot has nothing left to do."""

    lacks: ClassVar[Mapping[Ability, str]] = {}
    stop_notice: ClassVar[str] = "Stopped."

    def __init__(self, town: Town) -> None:
        self._town = town
        self._question: discord.Message | None = None

    def model_says(self, *pieces: str) -> None:
        self._town.answerer.scripts.append(list(pieces))

    def hold_model(self) -> None:
        self._town.hold(after=1)

    async def release_model(self) -> None:
        await self._town.release()

    async def ask(self, text: str) -> None:
        self._question = await self._town.ask(text)

    async def first_words(self) -> str:
        return self._newest.content

    async def whole_answer(self) -> str:
        assert self._ids, "an answer that is whole can be voted on"
        return self._newest.content

    async def shown_answers(self) -> list[str]:
        return [message.content for message in self._town.answers()]

    async def press_stop(self) -> None:
        await self._town.ada.click(self._newest, label="Stop")

    async def edit_question(self, text: str) -> None:
        await self._town.ada.edit(self._asked, f"{self._town.mention} {text}")

    async def delete_question(self) -> None:
        await self._town.ada.delete(self._asked)

    async def regenerate(self) -> None:
        await self._town.ada.click(self._newest, custom_id=self._ids["🔄"])

    async def vote(self, thumb: Thumb) -> None:
        await self._town.ada.click(self._newest, custom_id=self._ids[THUMBS[thumb]])

    async def review(self, decision: Decision, better: str = "") -> str:
        moderator = self._town.moderator
        shown = await moderator.slash(self._town.channel, "review")
        assert shown.response is not None
        card = said(shown)
        pressed = await moderator.click(shown.response, label=decision.capitalize())
        if decision == "edit":
            await moderator.submit_modal(pressed, {"part1": better})
        assert "Nothing waits for review." in said(shown)
        return card

    async def switch(self, adapter: str) -> None:
        shown = await self._town.admin.slash(self._town.channel, "adapter switch", adapter=adapter)
        assert shown.response is not None
        await self._town.admin.click(shown.response, label="Switch")
        assert f"**{adapter}** answers now" in said(shown)

    async def restart(self) -> None:
        self._town.answerer.hold_after = None
        await self._town.restart()

    @property
    def _asked(self) -> discord.Message:
        assert self._question is not None
        return self._question

    @property
    def _newest(self) -> discord.Message:
        return self._town.answers()[-1]

    @property
    def _ids(self) -> dict[str, str]:
        rows: list[Any] = list(self._newest.components)
        return {str(item.emoji): item.custom_id for row in rows for item in row.children}
