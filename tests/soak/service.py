"""The real `thumbloop serve` as a child process, started anew as often as it ends."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import httpx

from bot.api.keys import new_key
from tests.doubles.discord_server import TOKEN as DISCORD_TOKEN
from tests.doubles.telegram_server import TOKEN as TELEGRAM_TOKEN
from tests.doubles.tiny_model import write_tiny_model

ROOT: Final = Path(__file__).parents[2]
START_S: Final = 600.0
"""A machine on which much else runs takes minutes to load everything."""
STOP_S: Final = 60.0
LAST_WORDS: Final = 400
CLOCK: Final = Path(__file__).with_name("clock.c")


class Service:
    """The service and how it is treated. `died` are the last words of processes that nobody ended."""

    def __init__(
        self, folder: Path, database_url: str, discord_url: str, telegram_url: str, *, fake_clock: bool
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.database_url = database_url or f"sqlite:///{self.data / 'thumbloop.db'}"
        self.api_key, line = new_key("soak", "web:web")
        self.console_url, self.api_url = (f"http://127.0.0.1:{_free_port()}" for _ in range(2))
        self.clock = folder / "clock"
        self.set_clock(0)
        library = fake_clock and _built(CLOCK, folder)
        self.can_set_clock = bool(library)
        self.died: list[str] = []
        self.starts = 0
        self._process: asyncio.subprocess.Process | None = None
        self._wanted = asyncio.Event()
        self._log = folder / "serve.txt"
        settings = {
            "data": str(self.data),
            "model": str(write_tiny_model(folder / "tiny")),
            "device": "cpu",
            "answering__temperature": "1.0",  # the tiny model's likeliest tokens are line breaks only
            "answering__max_new_tokens": "24",
            "web__port": self.console_url.rpartition(":")[2],
            "api__port": self.api_url.rpartition(":")[2],
            "api__keys": json.dumps([line]),
            "discord__token": DISCORD_TOKEN,
            "discord__api_url": f"{discord_url}/api/v10",
            "discord__gateway_url": f"{discord_url.replace('http:', 'ws:')}/gateway",
            "telegram__token": TELEGRAM_TOKEN,
            "telegram__api_url": f"{telegram_url}/bot",
        }
        if database_url:
            settings["record__database_url"] = database_url
        kept = {name: value for name, value in os.environ.items() if not name.startswith("THUMBLOOP_")}
        self._environment = kept | {f"THUMBLOOP_{name.upper()}": value for name, value in settings.items()}
        self._environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        if library:
            self._environment |= {"LD_PRELOAD": str(library), "SOAK_CLOCK": str(self.clock)}

    @property
    def pid(self) -> int | None:
        """The number of the process that runs, if one does."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    def set_clock(self, seconds: int) -> None:
        """Let the service's clock differ from the machine's by so much, from now on."""
        with self.clock.open("r+b" if self.clock.exists() else "wb") as file:
            file.write(seconds.to_bytes(8, sys.byteorder, signed=True))

    async def keep_running(self) -> None:
        """Start the process, and start it anew whenever it ends, until cancelled."""
        try:
            while True:
                with self._log.open("ab") as log:
                    self._process = await asyncio.create_subprocess_exec(
                        sys.executable, "-m", "bot", "serve",
                        cwd=self.folder, env=self._environment, stdin=asyncio.subprocess.DEVNULL,
                        stdout=log, stderr=log,
                    )  # fmt: skip
                self.starts += 1
                self._wanted.set()
                await self._process.wait()
                if self._wanted.is_set():
                    self.died.append(self._log.read_text(errors="replace")[-LAST_WORDS:].strip())
                    await asyncio.sleep(1)  # as systemd does
        finally:
            await self.end(signal.SIGTERM)

    async def end(self, how: signal.Signals) -> None:
        """Send the process a signal that it does not outlive, and wait for its end."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        self._wanted.clear()
        process.send_signal(how)
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            self.died.append(f"{how.name} did not end it within {STOP_S:.0f} s")
            process.kill()
            await process.wait()

    async def answers(self) -> None:
        """Wait until it is up. Raises TimeoutError."""
        async with asyncio.timeout(START_S), httpx.AsyncClient(trust_env=False) as client:
            while True:
                try:
                    await client.get(f"{self.api_url}/healthz")
                    return
                except httpx.TransportError:
                    await asyncio.sleep(0.3)

    def tidy(self) -> None:
        """Remove everything it kept."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _built(source: Path, folder: Path) -> Path | None:
    """The library made of that source, where there is a C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    library = folder / f"{source.stem}.so"
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
