"""`thumbloop chat` as a process with a pipe for a keyboard, and the commands that are typed beside it."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

from tests.bot.platforms.contract.driver import Ability, Decision, Thumb
from tests.doubles.openai_server import OpenAIServer, Reply

SIGNATURE = re.compile(r"\nturn \d+ · .+\n")
"""The line under an answer that is whole."""
TYPED = "what was typed at the terminal cannot be taken up again"


class TerminalDriver:
    """One person's conversation; `errors` is the file that what goes to stderr is written to."""

    lacks: ClassVar[Mapping[Ability, str]] = {
        "deleting a question": TYPED,
        "editing a question": TYPED,
        "finishing after a restart": "the end of the command ends the conversation",
        "regenerating": "the terminal has no command for another answer",
        "taking a vote back": "the terminal has no command for that",
        "voting after a restart": "a new start begins a new conversation",
    }
    stop_notice: ClassVar[str] = ""  # whoever pressed Ctrl-C knows

    def __init__(self, model: OpenAIServer, errors: Path) -> None:
        self._model = model
        self._errors = errors
        self._process: Process | None = None
        self._written = b""
        self._earlier: list[str] = []
        self._begun = False

    async def begin(self) -> None:
        """Start the command, and wait for its welcome."""
        self._process = await _thumbloop("chat", errors=self._errors)
        await self._until(lambda: "/help" in self._text)
        await self._typed("/mode", "Mode:")  # all that is said for a beginning has been said

    async def end(self) -> None:
        """Take the process away, whatever it does."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    def model_says(self, *pieces: str) -> None:
        self._model.script.append(Reply(words=pieces))

    def hold_model(self) -> None:
        self._model.hold()

    async def release_model(self) -> None:
        self._model.release()

    async def ask(self, text: str) -> None:
        self._put_by()
        self._begun = True
        await self._type(text)

    async def first_words(self) -> str:
        await self._until(lambda: self._text.strip())
        return self._newest

    async def whole_answer(self) -> str:
        await self._until(lambda: SIGNATURE.search(self._text))
        return self._newest

    async def shown_answers(self) -> list[str]:
        return [*self._earlier, *([self._newest] if self._begun else [])]

    async def press_stop(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        await self._until(lambda: self._text.endswith("\n"))
        self._put_by()
        await self._typed("/mode", "Mode:")  # the prompt is there again

    async def edit_question(self, text: str) -> None:
        raise NotImplementedError(self.lacks["editing a question"])

    async def delete_question(self) -> None:
        raise NotImplementedError(self.lacks["deleting a question"])

    async def regenerate(self) -> None:
        raise NotImplementedError(self.lacks["regenerating"])

    async def vote(self, thumb: Thumb) -> None:
        self._put_by()
        await self._typed(f"/{thumb}", "Noted for turn")

    async def review(self, decision: Decision, better: str = "") -> str:
        shown = await self._command("review", "list", "--json")
        (entry,) = json.loads(shown)["entries"]
        await self._command("review", decision, str(entry["turn_id"]), *([better] if better else []))
        return shown

    async def switch(self, adapter: str) -> None:
        assert adapter in await self._command("adapter", "switch", adapter)

    async def restart(self) -> None:
        assert self._process is not None
        self._process.terminate()
        await self._process.communicate()
        self._put_by()
        self._model.release()
        await self.begin()

    @property
    def _text(self) -> str:
        """What has been written since something was last put by."""
        return self._written.decode(errors="ignore")

    @property
    def _newest(self) -> str:
        return SIGNATURE.split(self._text)[0].strip()

    def _put_by(self) -> None:
        if self._begun:
            self._earlier.append(self._newest)
        self._begun, self._written = False, b""

    async def _type(self, line: str) -> None:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        await self._process.stdin.drain()

    async def _typed(self, line: str, answered: str) -> None:
        await self._type(line)
        await self._until(lambda: answered in self._text and self._text.endswith("\n"))
        self._written = b""

    async def _until(self, holds: Callable[[], object]) -> None:
        assert self._process is not None and self._process.stdout is not None
        async with asyncio.timeout(60):
            while not holds():
                piece = await self._process.stdout.read(4096)
                assert piece, f"it ended: {self._errors.read_text()}"
                self._written += piece

    async def _command(self, *words: str) -> str:
        process = await _thumbloop(*words, errors=self._errors)
        out, _ = await process.communicate()
        assert process.returncode == 0, self._errors.read_text()
        return out.decode()


async def _thumbloop(*words: str, errors: Path) -> Process:
    with errors.open("ab") as file:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bot", *words, stdin=PIPE, stdout=PIPE, stderr=file
        )
