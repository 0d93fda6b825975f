"""A small Discord on this machine that speaks HTTP and gateway, for what simcord leaves out.

Rate limits with their headers, 429 and 5xx, tokens and intents that are refused, connections that drop and
resume, and how long everything takes. One guild with one channel; members are ids. `calls` is what the bot
called, with the seconds since the server's start; `until` waits for something to become true.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import WSMsgType, web

TOKEN: Final = "MTIz.token.of-the-bot"
GUILD: Final = 100
CHANNEL: Final = 200
BOT: Final = 300
EPOCH_MS: Final = 1420070400000
MESSAGE_CONTENT: Final = 1 << 15
PERMISSIONS: Final = str((1 << 50) - 1)


@dataclass
class Call:
    """A call of the bot: when (seconds since the start), what, with which body, and how it was answered."""

    at: float
    method: str
    path: str
    body: Any
    status: int = 0

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass
class _Bucket:
    """A rate limit: `limit` calls in `window` seconds."""

    limit: int
    window: float
    left: int = 0
    until: float = 0.0


@dataclass
class _Failure:
    """How calls that begin with `what` are answered instead."""

    what: str
    status: int
    done: bool
    stays: bool
    body: dict[str, Any]


@dataclass
class DiscordServer:
    """The double. `edits` are how many edits a channel allows in `window_s` seconds."""

    edits: int = 5
    window_s: float = 5.0
    message_content_allowed: bool = True
    url: str = ""
    advertised_gateway: str = ""
    calls: list[Call] = field(default_factory=list)
    messages: dict[int, dict[str, Any]] = field(default_factory=dict)
    responses: dict[int, dict[str, Any]] = field(default_factory=dict)
    """What the bot responded to presses of buttons, by the press's id."""
    connections: int = 0
    resumed: int = 0
    ready_lacks: str = ""
    """A field that READY is sent without."""
    refuses_connections: bool = False
    """Whether the gateway lets nobody in."""
    breaks_off: dict[str, int] = field(default_factory=dict)
    """How often the answer to calls that begin so ends in the middle, as when a proxy dies."""

    def __post_init__(self) -> None:
        self._started = time.monotonic()
        self._numbers = itertools.count(1)
        self._changed = asyncio.Condition()
        self._failures: deque[_Failure] = deque()
        self._buckets: dict[str, _Bucket] = {}
        self._sockets: list[web.WebSocketResponse] = []
        self._sent: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)

    def fail(self, what: str, status: int, *, done: bool = False, stays: bool = False, **body: Any) -> None:
        """Answer the next call that begins with `what`, such as "PATCH /channels", with that status.

        `done` is one that was carried out all the same, as when a proxy gives up too early; `stays` answers
        every such call so.
        """
        self._failures.append(_Failure(what, status, done, stays, body))

    async def until(self, holds: Callable[[], Any], *, seconds: float = 60.0) -> Any:
        """Wait until `holds` is true; what it returned."""
        async with asyncio.timeout(seconds), self._changed:
            while not (found := holds()):
                await self._changed.wait()
            return found

    async def say(self, text: str, *, by: int = 1, **more: Any) -> dict[str, Any]:
        """A member writes into the channel; the message as Discord tells it."""
        message = self._message(by, f"<@{BOT}> {text}", mentions=[_user(BOT)], **more)
        await self.dispatch("MESSAGE_CREATE", self._told(message))
        return message

    def talk(self, text: str, *, by: int) -> None:
        """A member writes into the channel to nobody of us, while nobody of us is there."""
        self._message(by, text)

    async def press(self, message: dict[str, Any], action: str, *, by: int) -> int:
        """A member presses the button whose id has that action; the press's id."""
        (code,) = (
            item["custom_id"]
            for row in message["components"]
            for item in row["components"]
            if action in item["custom_id"].split(":")
        )
        number = self._id()
        interaction = {
            "id": str(number),
            "application_id": str(BOT),
            "type": 3,
            "token": f"press-{number}",
            "version": 1,
            "guild_id": str(GUILD),
            "channel_id": str(CHANNEL),
            "channel": {"id": str(CHANNEL), "type": 0},
            "member": _MEMBER | {"user": _user(by), "permissions": "0"},
            "message": self._told(message),
            "data": {"custom_id": code, "component_type": 2},
            "locale": "en-GB",
            "app_permissions": PERMISSIONS,
            "entitlements": [],
            "authorizing_integration_owners": {},
            "attachment_size_limit": 0,
        }
        await self.dispatch("INTERACTION_CREATE", interaction)
        return number

    async def dispatch(self, event: str, data: dict[str, Any]) -> None:
        """Send an event to the bot, and keep it for one that resumes."""
        sent = {"op": 0, "t": event, "s": len(self._sent["session"]) + 1, "d": data}
        self._sent["session"].append(sent)
        for socket in list(self._sockets):
            with contextlib.suppress(ConnectionError):
                await socket.send_json(sent)

    async def drop_connection(self) -> None:
        """Break the gateway's connection, as a proxy or a restart of Discord's does."""
        for socket in list(self._sockets):
            self._sockets.remove(socket)
            await socket.close(code=1001)

    def written(self) -> list[dict[str, Any]]:
        """What the bot has written, oldest first."""
        return [one for one in self.messages.values() if one["author"]["id"] == str(BOT)]

    # what the bot calls

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix("/api/v10")
        body = await _body(request)
        call = Call(time.monotonic() - self._started, request.method, path, body)
        self.calls.append(call)
        response: web.StreamResponse = self._respond(call, request)
        call.status = response.status
        begins = next(
            (what for what, left in self.breaks_off.items() if left and str(call).startswith(what)), ""
        )
        if begins:
            self.breaks_off[begins] -= 1
            response = await _broken_off(request, response)
        async with self._changed:
            self._changed.notify_all()
        return response

    def _respond(self, call: Call, request: web.Request) -> web.Response:
        with_token = request.headers.get("Authorization") == f"Bot {TOKEN}"
        if not with_token and not call.path.startswith("/interactions/"):
            return _json({"message": "401: Unauthorized", "code": 0}, 401)
        for failure in self._failures:
            if str(call).startswith(failure.what):
                if not failure.stays:
                    self._failures.remove(failure)
                status, more = failure.status, failure.body
                if failure.done:
                    self._do(call, request.query, {})
                headers = {"Via": "1.1 google"}  # without it the library takes a 429 for a ban
                if status == 429:
                    headers |= {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset-After": "0.05"}
                return _json({"message": "no", "code": 0, **more}, status, headers)
        headers = self._spend(call)
        if headers is None:
            return _json(
                {"message": "You are being rate limited.", "retry_after": 0.2, "global": False},
                429,
                {"Via": "1.1 google"},
            )
        return self._do(call, request.query, headers)

    def _spend(self, call: Call) -> dict[str, str] | None:
        parts = call.path.split("/")
        if call.method != "PATCH" or parts[1] != "channels":
            return {}
        bucket = self._buckets.setdefault(parts[2], _Bucket(self.edits, self.window_s))
        now = time.monotonic()
        if now >= bucket.until:
            bucket.left, bucket.until = bucket.limit, now + bucket.window
        if bucket.left == 0:
            return None
        bucket.left -= 1
        return {
            "X-RateLimit-Bucket": "edits",
            "X-RateLimit-Limit": str(bucket.limit),
            "X-RateLimit-Remaining": str(bucket.left),
            "X-RateLimit-Reset-After": f"{bucket.until - now:.3f}",
            "X-RateLimit-Reset": f"{time.time() + bucket.until - now:.3f}",
        }

    def _do(self, call: Call, query: Any, headers: dict[str, str]) -> web.Response:
        parts = call.path.strip("/").split("/")
        match call.method, *parts:
            case "GET", "users", "@me":
                return _json(_user(BOT) | {"verified": True})
            case "GET", "oauth2", "applications", "@me":
                return _json(_APPLICATION)
            case "GET", "gateway", "bot":
                limit = {"total": 1000, "remaining": 999, "reset_after": 0, "max_concurrency": 1}
                url = self.advertised_gateway or self._gateway_url
                return _json({"url": url, "shards": 1, "session_start_limit": limit})
            case "PUT", "applications", _, "commands":
                return _json([])
            case "POST", "channels", _, "typing":
                return web.Response(status=204)
            case "POST", "channels", _, "messages":
                return _json(self._told(self._sent_by_bot(call.body)))
            case "PATCH", "channels", _, "messages", number:
                message = self.messages.get(int(number))
                if message is None:
                    return _json({"message": "Unknown Message", "code": 10008}, 404)
                message |= {key: call.body[key] for key in ("content", "components") if key in call.body}
                return _json(self._told(message), 200, headers)
            case "GET", "channels", _, "messages":
                after = int(query.get("after", 0))
                found = [self._told(one) for key, one in self.messages.items() if key > after]
                first = sorted(found, key=lambda one: int(one["id"]))[: int(query.get("limit", 50))]
                return _json(first[::-1])  # Discord begins with the newest of them
            case "POST", "interactions", number, _, "callback":
                self.responses[int(number)] = call.body
                return _json({"interaction": {"id": number, "type": 3}})
            case "GET", "channels", _, "messages", number:
                message = self.messages.get(int(number))
                return _json(self._told(message)) if message else _json({"code": 10008}, 404)
        return _json({"message": f"the double has no {call}", "code": 0}, 404)

    def _sent_by_bot(self, body: dict[str, Any]) -> dict[str, Any]:
        for one in self.messages.values():
            if body.get("nonce") is not None and one.get("nonce") == body["nonce"]:
                return one  # enforce_nonce: what was sent already is not sent again
        more = {key: body[key] for key in ("components", "nonce") if key in body}
        if reference := body.get("message_reference"):
            where = {"channel_id": str(CHANNEL), "guild_id": str(GUILD)}
            more["message_reference"] = where | {"message_id": str(reference["message_id"]), "type": 0}
        return self._message(BOT, body.get("content") or "", **more)

    def _message(self, author: int, content: str, **more: Any) -> dict[str, Any]:
        number = self._id()
        message = {
            "id": str(number),
            "channel_id": str(CHANNEL),
            "author": _user(author),
            "content": content,
            "timestamp": "2026-11-24T12:00:00+00:00",
            "edited_timestamp": None,
            "tts": False,
            "mention_everyone": False,
            "mentions": [],
            "mention_roles": [],
            "attachments": [],
            "embeds": [],
            "components": [],
            "pinned": False,
            "type": 19 if "message_reference" in more else 0,
        } | more
        self.messages[number] = message
        return message

    def _id(self) -> int:
        return (int(time.time() * 1000) - EPOCH_MS << 22) + next(self._numbers)

    def _told(self, message: dict[str, Any]) -> dict[str, Any]:
        return message | {"guild_id": str(GUILD), "member": _MEMBER}

    # the gateway

    @property
    def _gateway_url(self) -> str:
        return self.url.replace("http://", "ws://") + "/gateway"

    async def _gateway(self, request: web.Request) -> web.StreamResponse:
        if self.refuses_connections:
            raise web.HTTPServiceUnavailable
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"op": 10, "d": {"heartbeat_interval": 41250}, "s": None, "t": None})
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                break
            said = json.loads(message.data)
            if said["op"] == 1:
                await socket.send_json({"op": 11, "d": None, "s": None, "t": None})
            elif said["op"] == 2:
                if not self.message_content_allowed and said["d"]["intents"] & MESSAGE_CONTENT:
                    await socket.close(code=4014, message=b"Disallowed intent(s).")
                    break
                await self._begin(socket)
            elif said["op"] == 6:
                await self._resume(socket, said["d"]["seq"])
        if socket in self._sockets:
            self._sockets.remove(socket)
        return socket

    async def _begin(self, socket: web.WebSocketResponse) -> None:
        self.connections += 1
        self._sent["session"].clear()
        self._sockets.append(socket)
        ready = {
            "v": 10,
            "user": _user(BOT),
            "guilds": [{"id": str(GUILD), "unavailable": True}],
            "session_id": "session",
            "resume_gateway_url": self._gateway_url,
            "shard": [0, 1],
            "application": {"id": str(BOT), "flags": 0},
        }
        ready.pop(self.ready_lacks, None)
        await self.dispatch("READY", ready)
        newest = max(self.messages, default=None)
        await self.dispatch("GUILD_CREATE", _guild(newest))
        await self._note()

    async def _resume(self, socket: web.WebSocketResponse, seen: int) -> None:
        self.resumed += 1
        self._sockets.append(socket)
        for event in self._sent["session"][seen:]:
            await socket.send_json(event)
        await socket.send_json({"op": 0, "t": "RESUMED", "s": len(self._sent["session"]), "d": {}})
        await self._note()

    async def _note(self) -> None:
        async with self._changed:
            self._changed.notify_all()


@asynccontextmanager
async def discord_server(**options: Any) -> AsyncIterator[DiscordServer]:
    """Serve the double inside the block."""
    server = DiscordServer(**options)
    app = web.Application()
    app.router.add_get("/gateway", server._gateway)
    app.router.add_get("/gateway/", server._gateway)
    app.router.add_route("*", "/api/v10/{path:.*}", server._rest)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()


async def _broken_off(request: web.Request, whole: web.StreamResponse) -> web.StreamResponse:
    """Send the beginning of an answer, and hang up."""
    assert isinstance(whole, web.Response) and isinstance(whole.body, bytes)
    part = web.StreamResponse(status=whole.status, headers={"Content-Type": "application/json"})
    part.content_length = len(whole.body) + 100
    await part.prepare(request)
    await part.write(whole.body[: len(whole.body) // 2])
    assert request.transport is not None
    request.transport.close()
    return part


async def _body(request: web.Request) -> Any:
    text = await request.text()
    return json.loads(text) if text and request.content_type == "application/json" else None


def _json(data: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    # the library knows JSON by this very type, without a charset
    return web.Response(
        body=json.dumps(data).encode(), status=status, headers=headers, content_type="application/json"
    )


def _user(number: int) -> dict[str, Any]:
    name = "thumbloop" if number == BOT else f"member{number}"
    return {
        "id": str(number),
        "username": name,
        "discriminator": "0",
        "global_name": None,
        "avatar": None,
        "bot": number == BOT,
    }


_MEMBER: Final[dict[str, Any]] = {
    "roles": [],
    "nick": None,
    "joined_at": "2026-01-01T00:00:00+00:00",
    "premium_since": None,
    "deaf": False,
    "mute": False,
    "pending": False,
    "flags": 0,
    "avatar": None,
    "communication_disabled_until": None,
}

_APPLICATION: Final[dict[str, Any]] = {
    "id": str(BOT),
    "name": "thumbloop",
    "description": "",
    "icon": None,
    "summary": "",
    "bot_public": False,
    "bot_require_code_grant": False,
    "verify_key": "00",
    "flags": 0,
    "owner": _user(1),
    "team": None,
}


def _guild(newest: int | None) -> dict[str, Any]:
    everyone = {
        "id": str(GUILD),
        "name": "@everyone",
        "permissions": PERMISSIONS,
        "position": 0,
        "color": 0,
        "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
        "hoist": False,
        "managed": False,
        "mentionable": False,
        "flags": 0,
    }
    channel = {
        "id": str(CHANNEL),
        "type": 0,
        "name": "general",
        "position": 0,
        "permission_overwrites": [],
        "nsfw": False,
        "parent_id": None,
        "topic": None,
        "rate_limit_per_user": 0,
        "last_message_id": str(newest) if newest else None,
    }
    empty = ("emojis", "stickers", "features", "voice_states", "presences", "threads", "stage_instances")
    return {
        "id": str(GUILD),
        "name": "Gardeners",
        "owner_id": "1",
        "roles": [everyone],
        "channels": [channel],
        "members": [_MEMBER | {"user": _user(BOT)}],
        "member_count": 2,
        "verification_level": 0,
        "default_message_notifications": 0,
        "explicit_content_filter": 0,
        "mfa_level": 0,
        "system_channel_id": None,
        "system_channel_flags": 0,
        "rules_channel_id": None,
        "public_updates_channel_id": None,
        "afk_channel_id": None,
        "afk_timeout": 300,
        "icon": None,
        "splash": None,
        "banner": None,
        "description": None,
        "preferred_locale": "en-US",
        "nsfw_level": 0,
        "premium_tier": 0,
        "premium_subscription_count": 0,
        "premium_progress_bar_enabled": False,
        "vanity_url_code": None,
        "large": False,
        "unavailable": False,
        "application_id": None,
        "guild_scheduled_events": [],
        "soundboard_sounds": [],
        **{name: [] for name in empty},
    }
