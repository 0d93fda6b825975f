"""Who asks: members on Discord and Telegram, callers of the API, visitors of the console, all at once.

Each asker puts one question after the other and waits a while for what is shown; whoever waited long enough
asks the next. `shown` tells at any time what stands under each question.
"""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from itertools import islice
from typing import Any, ClassVar, Final

import httpx

from bot.texts import RECORD_AWAY, VOTE_KEPT, WAS_AWAY
from tests.doubles.discord_server import BOT as DISCORD_BOT
from tests.doubles.discord_server import DiscordServer
from tests.doubles.telegram_server import BotApi, group, person
from tests.soak.ledger import Asked, Edge, Kind, Ledger, Shown, Thumb
from tests.soak.service import Service

PATIENCE_S: Final = 15.0
"""How long somebody waits before they ask something else."""

LOOK_EVERY_S: Final = 0.1
MEMBERS: Final = 400
GROUPS: Final = 40
API_S: Final = 330.0
"""How long a caller of the API waits: a little longer than the service lets an answer take."""

VOTES: Final = 0.3
"""So many of those who have their answer press a thumb under it."""


class Asker(ABC):
    """A crowd on one edge; `crowd` of them ask side by side, `pause_s` apart."""

    edge: ClassVar[Edge]
    crowd: ClassVar[int]
    pause_s: ClassVar[float] = 0.0

    def __init__(self, ledger: Ledger, choices: random.Random) -> None:
        self.ledger, self.choices = ledger, choices
        self._turn = asyncio.Lock()

    async def ask_all(self, questions: int) -> None:
        """Ask that many."""
        left = iter(range(questions))
        async with asyncio.TaskGroup() as crowd:
            for _ in range(min(self.crowd, questions)):
                crowd.create_task(self._ask_one_after_the_other(left))

    async def _ask_one_after_the_other(self, left: Any) -> None:
        for number in left:
            async with self._turn:
                await asyncio.sleep(self.pause_s)
            one = self.ledger.ask(self.edge)
            try:
                await self.ask(one, number)
            except asyncio.CancelledError:
                one.shown = [Shown("cut off", "the run was broken off")]  # members go on looking
                raise

    @abstractmethod
    async def ask(self, one: Asked, number: int) -> None:
        """Put the question, and wait a while for what comes."""

    @abstractmethod
    def look(self) -> None:
        """Note in the ledger what the askers see now."""


class Members(Asker):
    """Members of a platform: what they see stands under their messages, and may come late."""

    thumbs: ClassVar[tuple[int, ...]] = (1, -1)

    def __init__(self, ledger: Ledger, choices: random.Random) -> None:
        super().__init__(ledger, choices)
        self._asked: dict[Any, Asked] = {}
        self._replies: dict[Any, list[dict[str, Any]]] = {}
        self._pressed: dict[Any, Thumb] = {}

    async def ask(self, one: Asked, number: int) -> None:
        key = await self.write(f"What is LoRA? {one.marker}", number)
        self._asked[key] = one
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE_S
        while loop.time() < until and not one.settled:
            await asyncio.sleep(LOOK_EVERY_S)
            self.gather()
            one.shown = self.see(key)
        if one.answered and self.choices.random() < VOTES:
            answer = next(reply for reply in self._replies[key] if self.kind(reply) == "answer")
            one.thumb = Thumb(self.choices.choice(self.thumbs))
            self._pressed[await self.press(answer, one.thumb.value, number)] = one.thumb

    def look(self) -> None:
        self.gather()
        for key, one in self._asked.items():
            one.shown = self.see(key)
        for press, thumb in self._pressed.items():
            thumb.acknowledged = self.noted(press)

    def see(self, key: Any) -> list[Shown]:
        """What stands under that message."""
        return [Shown(self.kind(reply), self.text(reply)) for reply in self._replies.get(key, [])]

    @abstractmethod
    async def write(self, text: str, number: int) -> Any:
        """Write a message to the bot; what replies to it name."""

    @abstractmethod
    async def press(self, answer: dict[str, Any], value: int, number: int) -> Any:
        """Let who wrote the message of that number press a thumb under the answer; the press's id."""

    @abstractmethod
    def noted(self, press: Any) -> bool:
        """Whether the bot has said that it noted the thumb."""

    @abstractmethod
    def gather(self) -> None:
        """Take in the replies that are new."""

    @abstractmethod
    def kind(self, reply: dict[str, Any]) -> Kind:
        """What that message of the bot's is, by its buttons."""

    @abstractmethod
    def text(self, reply: dict[str, Any]) -> str:
        """What it says."""


MODAL: Final = 9
"""Discord's number of a response that opens a form."""


class DiscordMembers(Members):
    """A lively channel, below the burst at which a community is slowed down."""

    edge = "Discord"
    crowd = 12
    pause_s = 0.22

    def __init__(self, server: DiscordServer, ledger: Ledger, choices: random.Random) -> None:
        super().__init__(ledger, choices)
        self._server = server
        self._seen = 0

    async def write(self, text: str, number: int) -> Any:
        return (await self._server.say(text, by=1000 + number % MEMBERS))["id"]

    async def press(self, answer: dict[str, Any], value: int, number: int) -> Any:
        return await self._server.press(answer, "up" if value > 0 else "down", by=1000 + number % MEMBERS)

    def noted(self, press: Any) -> bool:
        response = self._server.responses.get(press, {})
        asks_why = response.get("type") == MODAL  # a thumb down is kept before it is asked about
        return asks_why or response.get("data", {}).get("content") == VOTE_KEPT.say("en")

    def gather(self) -> None:
        for message in islice(self._server.messages.values(), self._seen, None):
            self._seen += 1
            if message["author"]["id"] == str(DISCORD_BOT) and (to := message.get("message_reference")):
                self._replies.setdefault(to["message_id"], []).append(message)

    def kind(self, reply: dict[str, Any]) -> Kind:
        codes = [item["custom_id"] for row in reply["components"] for item in row["components"]]
        return _kind(self.text(reply), codes)

    def text(self, reply: dict[str, Any]) -> str:
        return str(reply["content"])


class TelegramMembers(Members):
    """Half of them in groups, half in private chats, so many that no chat is over Telegram's limits.

    A private chat is asked in once: nothing in it replies to anything, so all that the bot says there counts.
    In a group the bot says once that it was away, which tells all whose questions stand above it.
    """

    edge = "Telegram"
    crowd = 16
    pause_s = 0.1
    thumbs = (1,)  # a thumb down is asked about, which would count as a reply in a private chat

    def __init__(self, api: BotApi, ledger: Ledger, choices: random.Random) -> None:
        super().__init__(ledger, choices)
        self._api = api
        self._seen = 0
        self._apologies: dict[int, list[dict[str, Any]]] = {}

    async def write(self, text: str, number: int) -> Any:
        if number % 2 == 0:
            message = self._api.write(text, by=_telegram_member(number))
            return message["chat"]["id"], None
        chat = group(-1000 - number // 2 % GROUPS, "Gardeners")
        message = self._api.write(f"@thumbloop_bot {text}", by=_telegram_member(number), chat=chat)
        return message["chat"]["id"], message["message_id"]

    async def press(self, answer: dict[str, Any], value: int, number: int) -> Any:
        return self._api.tap(answer, "👍" if value > 0 else "👎", by=_telegram_member(number))

    def noted(self, press: Any) -> bool:
        return self._api.toasts.get(press, {}).get("text") == VOTE_KEPT.say("en")

    def gather(self) -> None:
        for call in islice(self._api.calls, self._seen, None):
            if not call.answered:
                if call.method == "getUpdates":
                    self._seen += 1
                    continue
                break
            self._seen += 1
            message = call.answered.get("result")
            if call.method == "sendMessage" and isinstance(message, dict):
                chat, to = message["chat"]["id"], message.get("reply_to_message", {}).get("message_id")
                self._replies.setdefault((chat, to), []).append(message)
                if message["text"] == WAS_AWAY.say("en"):
                    self._apologies.setdefault(chat, []).append(message)

    def see(self, key: Any) -> list[Shown]:
        standing = [
            reply
            for reply in self._replies.get(key, [])
            if (reply["chat"]["id"], reply["message_id"]) in self._api.messages
        ]
        chat, asked = key
        if not standing and asked is not None:
            standing = [one for one in self._apologies.get(chat, []) if one["message_id"] > asked][:1]
        return [Shown(self.kind(reply), self.text(reply)) for reply in standing]

    def kind(self, reply: dict[str, Any]) -> Kind:
        keyboard = reply.get("reply_markup", {}).get("inline_keyboard", [])
        if not keyboard and self.text(reply).rstrip().endswith("…"):  # the beginning of an answer
            return "unfinished"
        return _kind(self.text(reply), [button["callback_data"] for row in keyboard for button in row])

    def text(self, reply: dict[str, Any]) -> str:
        return str(reply["text"])


class ApiCallers(Asker):
    """Programs that call the API, half of them as a stream. The API takes no votes."""

    edge = "API"
    crowd = 4
    pause_s = 0.3

    def __init__(self, service: Service, ledger: Ledger, choices: random.Random) -> None:
        super().__init__(ledger, choices)
        self._service = service

    async def ask(self, one: Asked, number: int) -> None:
        body = {
            "model": "thumbloop",
            "messages": [{"role": "user", "content": f"What is LoRA? {one.marker}"}],
            "stream": number % 2 == 1,
        }
        url = f"{self._service.api_url}/v1/chat/completions"
        headers = {"Authorization": f"Bearer {self._service.api_key}"}
        try:
            async with httpx.AsyncClient(timeout=API_S, trust_env=False) as client:
                response = await client.post(url, json=body, headers=headers)
        except httpx.ConnectError:
            one.shown = [Shown("cut off", "connection refused")]
            await asyncio.sleep(1)
        except httpx.TimeoutException:
            one.shown = []  # nothing came, and nobody hung up
        except httpx.TransportError as error:
            one.shown = [Shown("cut off", f"connection broken ({type(error).__name__})")]
        else:
            one.shown = [_answer_of(response)]

    def look(self) -> None:
        """All is noted already."""


def _telegram_member(number: int) -> dict[str, Any]:
    if number % 2 == 0:
        return person(1_000_000 + number, "Somebody")
    return person(1000 + number % MEMBERS, f"Member {number % MEMBERS}")


def _answer_of(response: httpx.Response) -> Shown:
    text = response.text.rstrip()
    last = text.rpartition("\n")[2]
    if response.status_code != 200 or '"error"' in last:
        return Shown("reason", f"{response.status_code} {last[:200]}")
    is_whole = text.endswith("[DONE]") or not text.startswith("data:")
    return Shown("answer" if is_whole else "unfinished", text)


def _kind(text: str, codes: list[str]) -> Kind:
    actions = {code.split(":")[1] for code in codes if code.startswith("tl1:")}
    if "stop" in actions or text == RECORD_AWAY.say("en"):
        return "unfinished"
    return "answer" if "up" in actions else "reason"
