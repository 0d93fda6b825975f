#!/usr/bin/env bash
# A sharded discord.py client whose resuming is refused once gives its session up, and leaves its gateway.
#
# Guess: both kinds of client connect to what `GET /gateway/bot` names, and both keep trying to resume a session
# at the address that READY named (resume_gateway_url), so that Discord delivers what was missed meanwhile.
# Behaviour (discord.py 2.7.1): Client never asks, identifies at the library's own address (DEFAULT_GATEWAY,
# wss://gateway.discord.gg), and then does keep resuming. AutoShardedClient asks and identifies at what it is told; but
# of a broken connection it tries to resume once only. If the gateway answers that with 503, as one does that
# restarts, Shard.reconnect() identifies anew: that takes one of the day's session starts, and what was said in
# between is not delivered. And it identifies at DEFAULT_GATEWAY, so a bot behind a gateway proxy leaves it there.
# A bot that catches up with what it missed must therefore do so after READY as well as after RESUMED.
# Output seen: Client: identify at default, resume at named. AutoShardedClient: identify at named, identify at default
# Source: discord/shard.py, Shard.reconnect(), beside discord/client.py, Client.connect(); and running this.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check discord.py==2.7.1
"$place/venv/bin/python" - <<'PYTHON'
import asyncio
import json
import logging

import discord
import yarl
from aiohttp import web
from discord.gateway import DiscordWebSocket

logging.disable()
OPS = {2: "identify", 6: "resume"}


class Discord:
    """As much of Discord as a client needs to connect; `refuse` connections are answered with 503."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.refuse = 0
        self.again = asyncio.Event()

    async def gateway(self, request: web.Request) -> web.StreamResponse:
        if self.refuse:
            self.refuse -= 1
            raise web.HTTPServiceUnavailable
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"op": 10, "d": {"heartbeat_interval": 40000}, "s": None, "t": None})
        async for message in socket:
            op = message.json()["op"]
            if op not in OPS:
                continue
            self.seen.append(f"{OPS[op]} at {request.match_info['name']}")
            if len(self.seen) == 2:
                self.again.set()
                break
            ready = {
                "v": 10,
                "user": ME,
                "guilds": [],
                "session_id": "1",
                "resume_gateway_url": f"ws://{request.host}/named",
                "application": {"id": "1", "flags": 0},
                "shard": [0, 1],
            }
            await socket.send_json({"op": 0, "t": "READY", "s": 1, "d": ready})
            self.refuse = 1
            await socket.close(code=4000)
        return socket

    async def rest(self, request: web.Request) -> web.Response:
        if request.path.endswith("/gateway/bot"):
            start = {"total": 1000, "remaining": 999, "reset_after": 0, "max_concurrency": 1}
            url = f"ws://{request.host}/named"
            told = {"url": url, "shards": 1, "session_start_limit": start}
        else:
            told = APPLICATION if request.path.endswith("/applications/@me") else ME
        return web.Response(body=json.dumps(told).encode(), content_type="application/json")


ME = {"id": "1", "username": "bot", "discriminator": "0", "avatar": None, "bot": True}
APPLICATION = {
    "id": "1", "name": "bot", "icon": None, "description": "", "bot_public": True,
    "bot_require_code_grant": False, "verify_key": "", "flags": 0, "owner": ME,
}  # fmt: skip


async def seen_by(kind: type[discord.Client]) -> list[str]:
    double = Discord()
    app = web.Application()
    app.router.add_get("/{name:named|default}", double.gateway)
    app.router.add_get("/{name:named|default}/", double.gateway)
    app.router.add_get("/api/{path:.*}", double.rest)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    discord.http.Route.BASE = f"http://127.0.0.1:{port}/api"
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(f"ws://127.0.0.1:{port}/default")
    client = kind(intents=discord.Intents.none())
    running = asyncio.create_task(client.start("token"))
    done = asyncio.create_task(double.again.wait())
    await asyncio.wait((running, done), timeout=60, return_when="FIRST_COMPLETED")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await client.close()
    await runner.cleanup()
    return double.seen


plain = asyncio.run(seen_by(discord.Client))
sharded = asyncio.run(seen_by(discord.AutoShardedClient))
print("Client:", ", ".join(plain) + ".", "AutoShardedClient:", ", ".join(sharded))
assert plain == ["identify at default", "resume at named"], plain
assert sharded == ["identify at named", "identify at default"], sharded
PYTHON
