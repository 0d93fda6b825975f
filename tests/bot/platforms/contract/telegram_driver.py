"""A Telegram group, driven through the loopback Bot API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from tests.bot.platforms.contract.driver import Ability, Decision, Thumb
from tests.bot.platforms.telegram.conftest import ADA, ADMIN, BOT, GARDEN, Town

GROUP = GARDEN["id"]
THUMBS: Mapping[Thumb, str] = {"up": "👍", "down": "👎"}
DECIDED: Mapping[Decision, str] = {
    "approve": "Approved.",
    "edit": "Edited and approved.",
    "reject": "Rejected.",
}


class TelegramDriver:
    """Ada asks in the group, its administrator moderates."""

    lacks: ClassVar[Mapping[Ability, str]] = {
        "deleting a question": "Telegram tells bots nothing of a message that is deleted",
    }
    stop_notice: ClassVar[str] = "Stopped."

    def __init__(self, town: Town) -> None:
        self._town = town
        self._question: dict[str, Any] = {}
        self._shown_before = self._whole_before = 0

    def model_says(self, *pieces: str) -> None:
        self._town.answerer.scripts.append(list(pieces))

    def hold_model(self) -> None:
        self._town.hold(after=1)

    async def release_model(self) -> None:
        self._town.release()

    async def ask(self, text: str) -> None:
        self._shown_before, self._whole_before = len(self._answers()), len(self._town.answers(GROUP))
        self._question = self._town.api.write(f"{BOT} {text}", by=ADA, chat=GARDEN)

    async def first_words(self) -> str:
        await self._town.api.until(lambda: len(self._answers()) > self._shown_before)
        return str(self._newest["text"])

    async def whole_answer(self) -> str:
        await self._town.api.until(lambda: len(self._town.answers(GROUP)) > self._whole_before)
        await self._town.idle()
        return str(self._newest["text"])

    async def shown_answers(self) -> list[str]:
        return [message["text"] for message in self._answers()]

    async def press_stop(self) -> None:
        await self._town.toast(self._town.api.tap(self._newest, "Stop", by=ADA))
        await self._town.idle()

    async def edit_question(self, text: str) -> None:
        asked = len(self._town.answerer.asked)
        self._town.api.rewrite(self._question, f"{BOT} {text}")
        await self._town.api.until(lambda: len(self._town.answerer.asked) > asked)

    async def delete_question(self) -> None:
        raise NotImplementedError(self.lacks["deleting a question"])

    async def regenerate(self) -> None:
        self._whole_before = len(self._town.answers(GROUP))
        await self._town.toast(self._town.api.tap(self._newest, "Regenerate", by=ADA))

    async def vote(self, thumb: Thumb) -> None:
        await self._town.toast(self._town.api.tap(self._newest, THUMBS[thumb], by=ADA))

    async def review(self, decision: Decision, better: str = "") -> str:
        town = self._town
        before = len(town.api.said(GROUP))
        town.api.write("/review", by=ADMIN, chat=GARDEN)
        (card,) = await town.api.until(lambda: town.api.said(GROUP)[before:])
        shown = str(card["text"])
        town.api.tap(card, decision.capitalize(), by=ADMIN)
        if decision == "edit":
            asked = await town.heard("Reply to this message", GROUP)
            town.api.write(better, by=ADMIN, chat=GARDEN, reply_to=asked)
        await town.heard(DECIDED[decision], GROUP)
        await town.idle()
        return shown

    async def switch(self, adapter: str) -> None:
        town = self._town
        town.api.write(f"/adapter switch {adapter}", by=ADMIN, chat=GARDEN)
        town.api.tap(await town.heard(f"Let {adapter} answer here", GROUP), "Switch", by=ADMIN)
        await town.heard(f"{adapter} answers now", GROUP)

    async def restart(self) -> None:
        await self._town.end()
        self._town.release()
        await self._town.begin()

    @property
    def _newest(self) -> dict[str, Any]:
        return self._answers()[-1]

    def _answers(self) -> list[dict[str, Any]]:
        """What the bot wrote under what Ada wrote."""
        return [
            message
            for message in self._town.api.said(GROUP)
            if message.get("reply_to_message", {}).get("from") == ADA
        ]
