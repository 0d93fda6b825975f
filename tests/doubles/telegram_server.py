"""Telegram's Bot API as far as a chat bot sees it: a server on this machine that speaks its protocol.

A test writes, taps and reacts as people do; the bot fetches that by `getUpdates` (long polling, confirmed by
offset) or is sent it by webhook. Messages, drafts and keyboards are kept as Telegram keeps them; HTML that
Telegram would refuse is refused. Every call is in `calls` with its time; `faults` scripts refusals.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any, Final

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.loopback import serving

TOKEN: Final = "42:loopback"
ME: Final = {
    "id": 42,
    "is_bot": True,
    "first_name": "Thumbloop",
    "username": "thumbloop_bot",
    "can_join_groups": True,
    "can_read_all_group_messages": False,
    "supports_inline_queries": False,
}
TAGS: Final = {"b", "i", "s", "u", "a", "code", "pre", "blockquote"}
WORDS: Final = ("text", "caption", "callback_query_id")
MOST: Final = 4096


@dataclass
class Call:
    """A call to a method, when it came (seconds since the server began), and what was answered."""

    method: str
    values: dict[str, Any]
    at: float
    answered: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return bool(self.answered.get("ok"))


@dataclass
class Fault:
    """How the next call of a method (in a chat) is refused; `stays` refuses all of them."""

    method: str
    code: int
    description: str
    chat: int | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    stays: bool = False


class BotApi:
    """The double. `url` is its base URL, as the setting takes it."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.faults: list[Fault] = []
        self.messages: dict[tuple[int, int], dict[str, Any]] = {}
        self.deleted: list[dict[str, Any]] = []
        self.drafts: dict[int, list[str]] = {}
        self.toasts: dict[str, dict[str, Any]] = {}
        self.menus: dict[tuple[str, str], list[str]] = {}
        self.administrators: dict[int, list[int]] = {}
        self.left: set[tuple[int, int]] = set()
        self.documents: list[bytes] = []
        self.files: dict[str, bytes] = {}
        self.webhook: dict[str, Any] = {}
        self.clock: Callable[[], float] = time.time
        self.url = ""
        self.pending: list[dict[str, Any]] = []
        self._next_update = 1000
        self._numbers: dict[int, int] = {}
        self._began = time.monotonic()
        self._news = asyncio.Event()
        self._polls = 0

    @asynccontextmanager
    async def served(self) -> AsyncIterator[BotApi]:
        """Serve inside the block."""
        app = Starlette(
            routes=[
                Route("/bot{token}/{method}", self._called, methods=["GET", "POST"]),
                Route("/file/bot{token}/{file}", self._given, methods=["GET"]),
            ]
        )
        async with serving(app) as url:
            self.url = f"{url}/bot"
            try:
                yield self
            finally:
                self._polls += 1  # a poll that waits ends here
                self._news.set()

    # what people do

    def write(self, text: str, *, by: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Let somebody write a message; in their private chat unless `chat` says where."""
        message = self.message(text, by=by, **more)
        self.update(message=message)
        return message

    def message(
        self,
        text: str,
        *,
        by: dict[str, Any],
        chat: dict[str, Any] | None = None,
        reply_to: dict[str, Any] | None = None,
        age: float = 0,
        **more: Any,
    ) -> dict[str, Any]:
        """A message that somebody writes, of which the bot has not been told yet."""
        chat = chat or private_chat(by)
        message = {
            "message_id": self._number(chat["id"]),
            "from": by,
            "chat": chat,
            "date": int(self.clock() - age),
            **({"text": text, "entities": _entities(text)} if text else {}),
            **more,
        }
        if reply_to is not None:
            message["reply_to_message"] = {
                key: value for key, value in reply_to.items() if key != "reply_to_message"
            }
        self.messages[chat["id"], message["message_id"]] = message
        return message

    def write_file(
        self, name: str, content: bytes, *, by: dict[str, Any], caption: str = "", **more: Any
    ) -> dict[str, Any]:
        """Let somebody send a file; in their private chat unless `chat` says where."""
        number = str(len(self.files) + 1)
        self.files[number] = content
        document = {"file_id": number, "file_unique_id": number, "file_name": name, "file_size": len(content)}
        return self.write("", by=by, document=document, **({"caption": caption} if caption else {}), **more)

    def rewrite(self, message: dict[str, Any], text: str) -> None:
        """Let somebody edit their message."""
        message.update(text=text, entities=_entities(text), edit_date=int(self.clock()))
        self.update(edited_message=message)

    def tap(self, message: dict[str, Any], label: str, *, by: dict[str, Any]) -> str:
        """Let somebody tap the button of that label; the id under which the tap is answered."""
        query = self.query(message, label, by=by)
        self.update(callback_query=query)
        return str(query["id"])

    def query(self, message: dict[str, Any], label: str, *, by: dict[str, Any]) -> dict[str, Any]:
        """Somebody's tap on the button of that label, of which the bot has not been told yet."""
        (data,) = (
            one["callback_data"]
            for row in message["reply_markup"]["inline_keyboard"]
            for one in row
            if label in one["text"]
        )
        tapped = f"tap-{self._next_update}"
        shown = dict(message)
        replied = shown.get("reply_to_message")
        if replied is not None:  # Telegram shows it as it is now
            shown["reply_to_message"] = {
                key: value
                for key, value in self.messages[replied["chat"]["id"], replied["message_id"]].items()
                if key != "reply_to_message"
            }
        return {"id": tapped, "from": by, "message": shown, "chat_instance": "1", "data": data}

    def react(self, message: dict[str, Any], new: str, *, by: dict[str, Any], old: str = "") -> None:
        """Let somebody change their reaction to a message; several emoji are several reactions."""
        self.update(
            message_reaction={
                "chat": message["chat"],
                "message_id": message["message_id"],
                "user": by,
                "date": int(self.clock()),
                "old_reaction": [{"type": "emoji", "emoji": one} for one in old],
                "new_reaction": [{"type": "emoji", "emoji": one} for one in new],
            }
        )

    def update(self, **what: Any) -> dict[str, Any]:
        """Have an update ready for the bot."""
        update = self.numbered(**what)
        self.deliver(update)
        return update

    def numbered(self, **what: Any) -> dict[str, Any]:
        """The next update, which is not delivered yet."""
        update = {"update_id": self._next_update, **json.loads(json.dumps(what))}
        self._next_update += 1
        return update

    def deliver(self, update: dict[str, Any]) -> None:
        """Have that update ready, even once more."""
        self.pending.append(update)
        self._news.set()

    async def push(self, secret: str | None = None) -> list[int]:
        """Send what is pending to the webhook, as Telegram does; the statuses."""
        statuses = []
        token = self.webhook.get("secret_token") if secret is None else secret
        async with httpx.AsyncClient(trust_env=False) as client:
            while self.pending:
                response = await client.post(
                    self.webhook["url"],
                    json=self.pending.pop(0),
                    headers={"X-Telegram-Bot-Api-Secret-Token": str(token)},
                )
                statuses.append(response.status_code)
        return statuses

    # what a test looks at

    def said(self, chat: int) -> list[dict[str, Any]]:
        """What the bot's messages in a chat say now, oldest first."""
        return [
            message
            for (where, _), message in sorted(self.messages.items())
            if where == chat and message["from"]["id"] == ME["id"]
        ]

    def made(self, method: str, chat: int | None = None) -> list[Call]:
        """The calls of a method, in a chat."""
        return [
            call
            for call in self.calls
            if call.method == method and (chat is None or call.values.get("chat_id") == chat)
        ]

    async def until(self, condition: Callable[[], Any], seconds: float = 60) -> Any:
        """Wait until the condition holds; what it gave."""
        async with asyncio.timeout(seconds):
            while not (found := condition()):
                await asyncio.sleep(0.005)
        return found

    # the protocol

    async def _called(self, request: Request) -> JSONResponse:
        method = request.path_params["method"]
        if request.path_params["token"] != TOKEN:
            return _refusal(401, "Unauthorized")
        values = await _values(request)
        call = Call(method, values, time.monotonic() - self._began)
        self.calls.append(call)
        call.answered = await self._answer(method, values)
        return JSONResponse(call.answered, status_code=call.answered.get("error_code", 200))

    async def _answer(self, method: str, values: dict[str, Any]) -> dict[str, Any]:
        for fault in self.faults:
            if fault.method == method and fault.chat in (None, values.get("chat_id")):
                if not fault.stays:
                    self.faults.remove(fault)
                return _error(fault.code, fault.description, fault.parameters)
        do = getattr(self, f"_do_{method}", None)
        result = True if do is None else do(values)
        if asyncio.iscoroutine(result):
            result = await result
        return (
            result if isinstance(result, dict) and "error_code" in result else {"ok": True, "result": result}
        )

    def _do_getMe(self, values: dict[str, Any]) -> Any:
        return ME

    async def _do_getUpdates(self, values: dict[str, Any]) -> Any:
        self._polls += 1
        mine = self._polls
        offset = int(values.get("offset") or 0)
        self.pending = [one for one in self.pending if one["update_id"] >= offset]
        end = time.monotonic() + float(values.get("timeout") or 0)
        while not self.pending and (left := end - time.monotonic()) > 0 and mine == self._polls:
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), min(left, 0.5))
            except TimeoutError:
                continue
        return list(self.pending[:100])

    def _do_setWebhook(self, values: dict[str, Any]) -> Any:
        if not str(values.get("url", "")).startswith("http"):
            return _error(400, "Bad Request: bad webhook: An HTTPS URL must be provided for webhook")
        self.webhook = values
        return True

    def _do_deleteWebhook(self, values: dict[str, Any]) -> Any:
        self.webhook = {}
        return True

    def _do_sendMessage(self, values: dict[str, Any]) -> Any:
        shown = as_shown(values)
        if "error_code" in shown:
            return shown
        chat = int(values["chat_id"])
        message = {
            "message_id": self._number(chat),
            "from": ME,
            "chat": _chat_of(chat),
            "date": int(self.clock()),
            **shown,
        }
        if values.get("message_thread_id"):
            message |= {"message_thread_id": int(values["message_thread_id"]), "is_topic_message": True}
        reply = (values.get("reply_parameters") or {}).get("message_id")
        if reply and (chat, reply) in self.messages:
            replied = dict(self.messages[chat, reply])
            replied.pop("reply_to_message", None)
            message["reply_to_message"] = replied
        self.messages[chat, message["message_id"]] = message
        self.drafts.pop(chat, None)
        return message

    def _do_editMessageText(self, values: dict[str, Any]) -> Any:
        key = (int(values["chat_id"]), int(values["message_id"]))
        if key not in self.messages:
            return _error(400, "Bad Request: message to edit not found")
        shown = as_shown(values)
        if "error_code" in shown:
            return shown
        message = self.messages[key]
        if message["html"] == shown["html"] and message.get("reply_markup") == shown.get("reply_markup"):
            return _error(400, "Bad Request: message is not modified: the new content is the same")
        message.pop("reply_markup", None)
        message.update(shown)
        return message

    def _do_sendMessageDraft(self, values: dict[str, Any]) -> Any:
        shown = as_shown({"text": "", **values}, may_be_empty=True)
        if "error_code" in shown:
            return shown
        self.drafts.setdefault(int(values["chat_id"]), []).append(shown["text"])
        return True

    def _do_deleteMessage(self, values: dict[str, Any]) -> Any:
        found = self.messages.pop((int(values["chat_id"]), int(values["message_id"])), None)
        if found is None:
            return _error(400, "Bad Request: message to delete not found")
        self.deleted.append(found)
        return True

    def _do_sendDocument(self, values: dict[str, Any]) -> Any:
        self.documents.append(values["file"])
        chat = int(values["chat_id"])
        return {
            "message_id": self._number(chat),
            "from": ME,
            "chat": _chat_of(chat),
            "date": int(self.clock()),
            "document": {"file_id": "1", "file_unique_id": "1", "file_name": "my-data.json"},
        }

    def _do_getFile(self, values: dict[str, Any]) -> Any:
        number = str(values["file_id"])
        return {"file_id": number, "file_unique_id": number, "file_path": number}

    async def _given(self, request: Request) -> Response:
        return Response(self.files[request.path_params["file"]])

    def _do_answerCallbackQuery(self, values: dict[str, Any]) -> Any:
        self.toasts[values["callback_query_id"]] = values
        return True

    def _do_setMyCommands(self, values: dict[str, Any]) -> Any:
        scope = values.get("scope") or {"type": "default"}
        name = f"{scope['type']}:{scope['chat_id']}" if "chat_id" in scope else scope["type"]
        self.menus[name, values.get("language_code", "")] = [one["command"] for one in values["commands"]]
        return True

    def _do_getChatAdministrators(self, values: dict[str, Any]) -> Any:
        people = self.administrators.get(int(values["chat_id"]), [])
        return [
            {"status": "creator", "user": person(number, "Admin"), "is_anonymous": False} for number in people
        ]

    def _do_getChatMember(self, values: dict[str, Any]) -> Any:
        chat, number = int(values["chat_id"]), int(values["user_id"])
        member = {"status": "member", "user": person(number, "Somebody")}
        if (chat, number) in self.left:
            return member | {"status": "left"}
        if number in self.administrators.get(chat, []):
            return member | {"status": "creator", "is_anonymous": False}
        return member

    def _number(self, chat: int) -> int:
        self._numbers[chat] = self._numbers.get(chat, 0) + 1
        return self._numbers[chat]


def person(number: int, name: str, language: str = "en") -> dict[str, Any]:
    """Somebody's account."""
    return {"id": number, "is_bot": False, "first_name": name, "language_code": language}


def private_chat(of: dict[str, Any]) -> dict[str, Any]:
    return {"id": of["id"], "type": "private", "first_name": of["first_name"]}


def group(number: int, title: str, kind: str = "supergroup") -> dict[str, Any]:
    return {"id": number, "type": kind, "title": title}


def labels(message: dict[str, Any]) -> list[str]:
    """What the buttons under a message say."""
    keyboard = message.get("reply_markup", {}).get("inline_keyboard", [])
    return [one["text"] for row in keyboard for one in row]


def _chat_of(number: int) -> dict[str, Any]:
    return group(number, "") if number < 0 else {"id": number, "type": "private"}


def _entities(text: str) -> list[dict[str, Any]]:
    """The mentions and the command in a text, as Telegram finds them; offsets count UTF-16 units."""
    found = []
    at = 0
    for word in text.replace("\n", " ").split(" "):
        kind = "mention" if word.startswith("@") and len(word) > 1 else ""
        if word.startswith("/") and at == 0 and len(word) > 1:
            kind = "bot_command"
        if kind:
            bare = word.rstrip(",.?!:")
            found.append({"type": kind, "offset": at, "length": len(bare.encode("utf-16-le")) // 2})
        at += len(word.encode("utf-16-le")) // 2 + 1
    return found


def as_shown(values: dict[str, Any], *, may_be_empty: bool = False) -> dict[str, Any]:
    """What Telegram makes of a message with these values, or why it refuses it."""
    text = html = str(values["text"])
    if values.get("parse_mode") == "HTML":
        reader = _Html()
        reader.feed(html)
        reader.close()
        if reader.fault or reader.open:
            return _error(400, f"Bad Request: can't parse entities: {reader.fault or 'unclosed tag'}")
        text = reader.text
    if not text.strip() and not may_be_empty:
        return _error(400, "Bad Request: message text is empty")
    if len(text.encode("utf-16-le")) // 2 > MOST:
        return _error(400, "Bad Request: message is too long")
    shown: dict[str, Any] = {"text": text, "html": html}
    keyboard = values.get("reply_markup")
    if keyboard:
        for row in keyboard["inline_keyboard"]:
            for one in row:
                if len(one.get("callback_data", "").encode()) > 64:
                    return _error(400, "Bad Request: BUTTON_DATA_INVALID")
        shown["reply_markup"] = keyboard
    return shown


class _Html(HTMLParser):
    """Reads what Telegram reads, and finds the fault that it would find."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text, self.fault = "", ""
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in TAGS:
            self.fault = self.fault or f'unsupported start tag "{tag}"'
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.fault = self.fault or f'unexpected end tag "{tag}"'

    def handle_data(self, data: str) -> None:
        self.text += data


async def _values(request: Request) -> dict[str, Any]:
    form = await request.form()
    values: dict[str, Any] = {}
    for name, value in [*request.query_params.multi_items(), *form.multi_items()]:
        if not isinstance(value, str):
            values["file"] = await value.read()
            continue
        try:
            values[name] = (
                json.loads(value) if name not in ("text", "caption", "callback_query_id") else value
            )
        except ValueError:
            values[name] = value
    return values


def _error(code: int, description: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
    answer: dict[str, Any] = {"ok": False, "error_code": code, "description": description}
    return answer | ({"parameters": parameters} if parameters else {})


def _refusal(code: int, description: str) -> JSONResponse:
    return JSONResponse(_error(code, description), status_code=code)
