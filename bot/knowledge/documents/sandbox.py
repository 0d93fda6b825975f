"""Files parsed in processes of their own: whatever a file does to its parser, it does to nothing else.

A worker is `parser_process`, which forks for each file and holds the fork to its limits; it is started
without our environment, so that no secret is in its memory, and started anew when it ends. Leaves to others:
what the parsers do (`parsing`), and where files come from.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Final, Self

from pydantic import TypeAdapter, ValidationError

from bot.errors import DocumentRefused, Refusal
from bot.knowledge.documents.pieces import Parsed, ParseLimits

_LENGTH_BYTES: Final = 8
_START_SECONDS: Final = 60.0
"""What a worker may take beyond a parse's own time: it loads its parsers once."""
_MIB: Final = 1024 * 1024


class Sandbox:
    """Parses files, so many at a time. An asynchronous context manager; its processes end with it."""

    def __init__(self, limits: ParseLimits | None = None, *, at_once: int = 1) -> None:
        self.limits = limits or ParseLimits()
        self._free: asyncio.Queue[_Worker] = asyncio.Queue()
        self._workers = [_Worker(self.limits) for _ in range(at_once)]
        for worker in self._workers:
            self._free.put_nowait(worker)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            await worker.stop()

    async def parse(self, content: bytes, name: str) -> Parsed:
        """The file in pieces; `name` is for people. Raises DocumentRefused, whatever the file holds."""
        if len(content) > self.limits.file_mib * _MIB:
            raise DocumentRefused(name, "too large", f"at most {self.limits.file_mib} MiB are read")
        worker = await self._free.get()
        try:
            answer = await worker.ask(content)
        finally:
            self._free.put_nowait(worker)
        if answer.parsed is None:
            raise DocumentRefused(name, answer.refused, answer.detail)
        return answer.parsed


@dataclass(frozen=True)
class _Answer:
    """What a worker says of a file, in a checked shape: a file that took it over could say anything."""

    parsed: Parsed | None = None
    refused: Refusal = "ended"
    detail: str = ""


_ANSWER: Final = TypeAdapter(_Answer)


class _Worker:
    """One `parser_process`, started when it is first asked."""

    def __init__(self, limits: ParseLimits) -> None:
        self._limits = limits
        self._process: Process | None = None

    async def ask(self, content: bytes) -> _Answer:
        """What the worker says of a file; "ended" when it stopped before it could."""
        try:
            async with asyncio.timeout(_START_SECONDS + self._limits.seconds):
                return await self._exchange(content)
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError, ValidationError):
            await self.stop()
            return _Answer()
        except BaseException:  # a cancelled exchange would leave its answer to the next one
            await self.stop()
            raise

    async def stop(self) -> None:
        """End the process and what it forked."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    async def _exchange(self, content: bytes) -> _Answer:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "bot.knowledge.documents.parser_process",
                json.dumps(asdict(self._limits)),
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,
                env={"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
                start_new_session=True,
            )
        assert self._process.stdin is not None and self._process.stdout is not None, "both are pipes"
        self._process.stdin.write(len(content).to_bytes(_LENGTH_BYTES, "big"))
        self._process.stdin.write(content)
        await self._process.stdin.drain()
        length = int.from_bytes(await self._process.stdout.readexactly(_LENGTH_BYTES), "big")
        return _ANSWER.validate_json(await self._process.stdout.readexactly(length))
