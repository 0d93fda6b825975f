"""Web, Discord, Telegram and the jobs: four processes on one PostgreSQL, answered by one engine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
import pytest
from sqlmodel import col, select

from bot.api.keys import new_key
from bot.ownership import TIMETABLE
from feedback import journal
from feedback.database import Database
from feedback.tables import Lease, Turn
from tests.doubles.discord_server import GUILD, DiscordServer, discord_server
from tests.doubles.discord_server import TOKEN as DISCORD_TOKEN
from tests.doubles.openai_server import BASE, OpenAIServer
from tests.doubles.telegram_server import TOKEN as TELEGRAM_TOKEN
from tests.doubles.telegram_server import BotApi, person
from tests.loopback import serving

ROOT: Final = Path(__file__).parents[2]
ADA: Final = person(1001, "Ada")
KEY, KEY_LINE = new_key("ci")
PATIENCE_S: Final = 300.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),  # nine starts of a whole service
    pytest.mark.parametrize("dialect", ["postgresql"], indirect=True),
    pytest.mark.skipif(not hasattr(os, "kill"), reason="needs signals"),
]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


async def until(holds: Callable[[], Any]) -> Any:
    """Wait until it holds; what it gave."""
    async with asyncio.timeout(PATIENCE_S):
        while not (found := holds()):
            await asyncio.sleep(0.05)
    return found


@dataclass
class Fleet:
    """The four processes, what they talk to, and the record that they share."""

    database: Database
    url: str
    folder: Path
    engine: OpenAIServer
    engine_url: str
    discord: DiscordServer
    telegram: BotApi
    ports: dict[str, int] = field(default_factory=dict)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    async def start(self, name: str, **settings: str) -> None:
        """Start the process of that name with these settings beside the common ones, until it answers."""
        self.ports.setdefault(name, free_port())
        common = {
            "DATA": str(self.folder / "data"),
            "RECORD__DATABASE_URL": self.url,
            "REMOTE__URL": f"{self.engine_url}/v1",
            "REMOTE__MODEL": BASE,
            "KNOWLEDGE__ENABLED": "false",
            "WEB__PORT": str(self.ports[name]),
        }
        environment = {key: value for key, value in os.environ.items() if not key.startswith("THUMBLOOP_")}
        environment |= {f"THUMBLOOP_{key}": value for key, value in (common | settings).items()}
        log = (self.folder / f"{name}.log").open("ab")
        self.running[name] = subprocess.Popen(
            [sys.executable, "-m", "bot", "serve"],
            cwd=self.folder,
            env={**environment, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        async with asyncio.timeout(PATIENCE_S):
            while not await self.answers(name):
                assert self.running[name].poll() is None, (self.folder / f"{name}.log").read_text()
                await asyncio.sleep(0.05)

    async def answers(self, name: str) -> bool:
        """Whether the process says that it is there, and, where it serves Discord, connected."""
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
                answer = await client.get(f"http://127.0.0.1:{self.ports[name]}/readyz")
        except httpx.HTTPError:
            return False
        states = {one["name"]: one["state"] for one in answer.json()["components"]}
        return name != "discord" or states.get("Discord") == "ok"

    def kill(self, name: str) -> None:
        """End the process without a word, as the kernel does when memory runs out."""
        self.running[name].send_signal(signal.SIGKILL)
        self.running[name].wait()

    async def ask_everywhere(self, but: str = "") -> None:
        """Ask on each way but one, and see each answered."""
        if but != "discord":
            before = len(finished(self.discord))
            await self.discord.say("When do I plant?")
            await until(lambda: len(finished(self.discord)) > before)
        if but != "telegram":
            already = len(self.telegram.said(ADA["id"]))
            self.telegram.write("When do I plant?", by=ADA)
            await until(
                lambda: any("Hello there" in one["text"] for one in self.telegram.said(ADA["id"])[already:])
            )
        if but != "web":
            async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
                answer = await client.post(
                    f"http://127.0.0.1:{self.ports['api']}/v1/chat/completions",
                    headers={"Authorization": f"Bearer {KEY}"},
                    json={"model": "thumbloop", "messages": [{"role": "user", "content": "When?"}]},
                )
            assert answer.json()["choices"][0]["message"]["content"] == "Hello there"

    async def job_runner(self) -> str:
        """Which process runs the jobs, by the record."""
        async with self.database.session(read_only=True) as session:
            holder = select(Lease.holder).where(Lease.name == TIMETABLE)
            return (await session.exec(holder)).one_or_none() or ""

    async def runs_jobs(self, name: str) -> None:
        """Wait until that process runs the jobs."""
        async with asyncio.timeout(PATIENCE_S):
            while not (await self.job_runner()).startswith(f"process {self.running[name].pid} "):
                await asyncio.sleep(0.05)

    async def open_turns(self) -> int:
        """Questions that have no answer."""
        async with self.database.session(read_only=True) as session:
            return len((await session.exec(select(Turn.id).where(col(Turn.state) == "asked"))).all())


def finished(discord: DiscordServer) -> list[dict[str, Any]]:
    """The whole answers on Discord."""
    return [one for one in discord.written() if "Hello there" in one["content"] and one.get("components")]


@pytest.fixture
async def fleet(database: Database, database_url: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with database.session() as session:
        for platform, key in (("discord", str(GUILD)), ("telegram", "direct")):
            community = await journal.community(session, platform, key)  # type: ignore[arg-type]
            community.cooldown_seconds = 0
            session.add(community)
    engine = OpenAIServer(max_model_len=4096)
    async with (
        serving(engine.app) as engine_url,
        BotApi().served() as telegram,
        discord_server() as discord,
    ):
        made = Fleet(database, database_url, tmp_path, engine, engine_url, discord, telegram)
        try:
            yield made
        finally:
            for process in made.running.values():
                process.kill()
                process.wait()


async def test_four_processes_share_a_record_and_an_engine_and_each_may_be_killed(fleet: Fleet) -> None:
    fleet.ports["api"] = free_port()
    silent = {"SCHEDULE__RUNS_HERE": "false"}
    roles: dict[str, dict[str, str]] = {
        "jobs": {},
        "web": {"API__KEYS": f'["{KEY_LINE}"]', "API__PORT": str(fleet.ports["api"])},
        "discord": {
            **silent,
            "DISCORD__TOKEN": DISCORD_TOKEN,
            "DISCORD__API_URL": f"{fleet.discord.url}/api/v10",
        },
        "telegram": {**silent, "TELEGRAM__TOKEN": TELEGRAM_TOKEN, "TELEGRAM__API_URL": fleet.telegram.url},
    }
    await fleet.start("jobs", **roles["jobs"])
    await fleet.runs_jobs("jobs")
    await asyncio.gather(*(fleet.start(name, **roles[name]) for name in ("web", "discord", "telegram")))
    await fleet.ask_everywhere()
    assert len(fleet.engine.asked) == 3
    # a model that is elsewhere costs its processes no torch
    loaded = [
        one.path for process in fleet.running.values() for one in psutil.Process(process.pid).memory_maps()
    ]
    assert loaded and not [path for path in loaded if "libtorch" in path]

    fleet.kill("jobs")  # whoever may run the jobs takes them over, later in this test
    for name in ("discord", "telegram", "web"):
        fleet.engine.hold()
        if name == "discord":
            await fleet.discord.say("What about the ferns?")
        elif name == "telegram":
            fleet.telegram.write("What about the ferns?", by=ADA)
        asked = len(fleet.engine.asked)
        if name != "web":
            await until(lambda asked=asked: len(fleet.engine.asked) > asked)
        fleet.kill(name)
        fleet.engine.release()
        await fleet.ask_everywhere(but=name)
        await fleet.start(name, **roles[name])
        await fleet.ask_everywhere()
    async with asyncio.timeout(PATIENCE_S):
        while await fleet.open_turns():  # what was cut off is answered by the process that came back
            await asyncio.sleep(0.05)
    await fleet.runs_jobs("web")
    # six that were asked and answered, and the one that a process was killed over
    await until(lambda: len(finished(fleet.discord)) == 7)


async def test_settings_are_read_anew_without_losing_an_answer(fleet: Fleet) -> None:
    api, settings, log = (
        free_port(),
        fleet.folder / "thumbloop.toml",
        fleet.folder / "data/logs/thumbloop.log",
    )
    settings.write_text("answering.temperature = 0.25")
    await fleet.start("web", API__KEYS=f'["{KEY_LINE}"]', API__PORT=str(api))
    process = fleet.running["web"]

    settings.write_text("answering.temperature = -1")
    process.send_signal(signal.SIGHUP)
    await until(lambda: "the settings were not taken over" in log.read_text())

    async def ask() -> str:
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client:
            answer = await client.post(
                f"http://127.0.0.1:{api}/v1/chat/completions",
                headers={"Authorization": f"Bearer {KEY}"},
                json={"model": "thumbloop", "messages": [{"role": "user", "content": "When?"}]},
            )
        return str(answer.json()["choices"][0]["message"]["content"])

    fleet.engine.hold()
    asking = asyncio.create_task(ask())
    await until(lambda: fleet.engine.asked)
    assert fleet.engine.asked[-1]["temperature"] == 0.25
    settings.write_text("answering.temperature = 0.75")
    process.send_signal(signal.SIGHUP)
    await until(lambda: "the service begins anew" in log.read_text())
    fleet.engine.release()
    assert await asking == "Hello there"

    answered = ""
    async with asyncio.timeout(PATIENCE_S):
        while not answered:  # as a client tries again that is turned away in between
            with contextlib.suppress(httpx.TransportError, KeyError):
                answered = await ask()
            await asyncio.sleep(0.05)
    assert answered == "Hello there" and process.poll() is None
    assert fleet.engine.asked[-1]["temperature"] == 0.75
