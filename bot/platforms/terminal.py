"""A conversation at the terminal: lines in, text out; what begins with `/` is a command.

The member is the operating system's user, the community is "terminal": the operator's own words, so training
on them is allowed from its first day on. Leaves reading lines and Ctrl-C to the command line.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, cast

from sqlmodel import select

from bot.assistant import Assistant
from bot.chat import sources
from bot.commands import voting
from bot.commands.communities import find_community
from bot.core import Core
from bot.errors import TookTooLong
from bot.questions import Finished, Place, Question, TextPiece
from bot.texts import Text
from feedback import journal
from feedback.database import Database
from feedback.errors import ThumbloopError
from feedback.tables import Community, Turn
from feedback.words import MODES, Language, Mode, Platform, VoteValue
from training.adapters import registry

PLATFORM: Final[Platform] = "terminal"
COMMUNITY: Final = "terminal"
AUTO: Final = "auto"
"""What `/adapter` calls the adapter that serves the community."""

Write = Callable[[str], None]


WELCOME: Final = Text("Ask something; /help lists the commands.", "Zapytaj o coś; /help pokazuje polecenia.")
FRESH: Final = Text(
    "Nothing is learnt yet: the base model answers. /up and /down vote on an answer; what is approved with "
    "`thumbloop review`, or brought by `thumbloop import FILE`, is what `thumbloop retrain` learns from. "
    "`thumbloop demo` shows the whole loop.",
    "Bot niczego się jeszcze nie nauczył: odpowiada model bazowy. /up i /down oceniają odpowiedź; `thumbloop "
    "retrain` uczy na tym, co zatwierdzi `thumbloop review` albo wczyta `thumbloop import PLIK`. "
    "`thumbloop demo` pokazuje całą pętlę.",
)
HELP: Final = Text(
    """/up             the last answer was good
/down [reason]  the last answer was not good
/adapter [A]    which adapter answers; A is name@version, base, or auto (what serves the community)
/mode [M]       how answers are written; M is {modes}
/new            begin a new conversation, without what was said
/help           this list
/quit           leave; so does Ctrl-D""",
    """/up             ostatnia odpowiedź była dobra
/down [powód]   ostatnia odpowiedź nie była dobra
/adapter [A]    który adapter odpowiada; A to nazwa@wersja, base albo auto (ten, który służy społeczności)
/mode [M]       jak pisane są odpowiedzi; M to {modes}
/new            nowa rozmowa, bez tego, co już powiedziano
/help           ta lista
/quit           wyjście; tak samo Ctrl-D""",
)
NO_ANSWER_YET: Final = Text(
    "There is no answer to vote on yet; ask something first.",
    "Nie ma jeszcze odpowiedzi do oceny; najpierw o coś zapytaj.",
)
VOTED: Final = Text("Noted for turn {turn}: {value}.", "Zapisano przy turze {turn}: {value}.")
VOTED_ALREADY: Final = Text("That was noted before.", "To już było zapisane.")
ADAPTER_IS: Final = Text("Adapter: {adapter}. There are {known}.", "Adapter: {adapter}. Dostępne: {known}.")
ADAPTER_NOW: Final = Text("From now on {adapter} answers.", "Od teraz odpowiada {adapter}.")
MODE_IS: Final = Text("Mode: {mode}. There are {known}.", "Tryb: {mode}. Dostępne: {known}.")
MODE_NOW: Final = Text("From now on the mode is {mode}.", "Od teraz tryb to {mode}.")
NO_SUCH_MODE: Final = Text("There is no mode {mode}; there are {known}.", "Nie ma trybu {mode}; są {known}.")
NEW: Final = Text("A new conversation begins.", "Zaczyna się nowa rozmowa.")
NO_SUCH_COMMAND: Final = Text(
    "There is no command {command}; /help lists them.",
    "Nie ma polecenia {command}; /help pokazuje wszystkie.",
)
CUT_OFF: Final = Text(
    "I ran out of time here; write “go on” for more.",
    "Tu zabrakło mi czasu; napisz „dalej”, by czytać więcej.",
)
SIGNATURE: Final = Text("turn {turn} · {adapter}", "tura {turn} · {adapter}")


@dataclass(frozen=True)
class Choices:
    """Which adapter answers, and in which mode; None follows the community."""

    adapter: str | None = None
    mode: Mode | None = None


def new_place() -> Place:
    """A new conversation in the terminal's community."""
    return Place(PLATFORM, COMMUNITY, secrets.token_hex(8), "Terminal")


def question(place: Place, member: str, text: str, choices: Choices) -> Question:
    """A question typed just now."""
    return Question(place, member, secrets.token_hex(16), text, choices.mode, choices.adapter)


async def move_in(database: Database) -> None:
    """Make the terminal's community on first sight. Whoever forbids training there later is not overruled."""
    here = select(Community).where(Community.platform == PLATFORM, Community.external_id == COMMUNITY)
    async with database.session() as session:
        if (await session.exec(here)).one_or_none() is None:
            community = await journal.community(session, PLATFORM, COMMUNITY, name="Terminal")
            community.training_allowed = True
            session.add(community)


async def place_in(database: Database, community: str) -> Place:
    """A new conversation in another community. Raises NotFound, and UsageError when two have the name."""
    async with database.session(read_only=True) as session:
        found = await find_community(session, community)
    return Place(cast(Platform, found.platform), found.external_id, secrets.token_hex(8))


async def adapter_label(database: Database, wanted: str) -> str:
    """The label of the adapter that is called so, or `base`. Raises NotFound."""
    async with database.session(read_only=True) as session:
        found = await registry.find(session, wanted)
    return registry.label(found) if found else registry.BASE


class TerminalChat:
    """One member's conversation. Errors for people are written, not raised: the conversation goes on."""

    def __init__(
        self,
        core: Core,
        assistant: Assistant,
        member: str,
        write: Write,
        *,
        choices: Choices,
        language: Language = "en",
    ) -> None:
        self._core = core
        self._assistant = assistant
        self._member = member
        self._write = write
        self._choices = choices
        self._language = language
        self._place = new_place()
        self._last_turn: int | None = None
        self._commands: dict[str, Callable[[str], Awaitable[None]]] = {
            "/up": lambda words: self._vote(1, words),
            "/down": lambda words: self._vote(-1, words),
            "/adapter": self._adapter,
            "/mode": self._mode,
            "/new": self._new,
            "/help": self._help,
        }

    async def welcome(self) -> None:
        """Say how to begin, and where nothing was ever asked, how it goes on from there."""
        async with self._core.database.session(read_only=True) as session:
            if (await session.exec(select(Turn.id).limit(1))).first() is None:
                self._say(FRESH)
        self._say(WELCOME)

    async def take(self, line: str) -> bool:
        """Answer one line; False when the member leaves. Cancelled, it stops the answer, keeping its part."""
        command, _, words = line.strip().partition(" ")
        if command == "/quit":
            return False
        try:
            if command.startswith("/"):
                await self._command(command, words.strip())
            elif command:
                await self._ask(line)
        except ThumbloopError as error:
            self._write(f"{error}\n")
        return True

    async def _command(self, command: str, words: str) -> None:
        if command in self._commands:
            await self._commands[command](words)
        else:
            self._say(NO_SUCH_COMMAND, command=command)

    async def _ask(self, text: str) -> None:
        """Ask, write the answer as it comes, and sign it."""
        asked = question(self._place, self._member, text, self._choices)
        begun = False
        try:
            async with contextlib.aclosing(self._assistant.ask(asked)) as events:
                async for event in events:
                    if isinstance(event, TextPiece):
                        if event.starts_over and begun:
                            self._write("\n\n")
                        begun = True
                        self._write(event.text)
                    elif isinstance(event, Finished):
                        self._last_turn = event.turn_id
                        self._write("\n")
                        begun = False
                        for line in sources.lines(event.sources, self._language):
                            self._write(line + "\n")
                        self._say(SIGNATURE, turn=event.turn_id, adapter=event.adapter)
        except TookTooLong as error:
            if not error.kept or error.turn_id is None:
                raise
            self._last_turn, begun = error.turn_id, False
            self._write("\n")
            self._say(CUT_OFF)
            self._say(SIGNATURE, turn=error.turn_id, adapter=error.adapter)
        finally:
            if begun:
                self._write("\n")

    async def _vote(self, value: VoteValue, reason: str) -> None:
        if self._last_turn is None:
            self._say(NO_ANSWER_YET)
            return
        voted = await voting.vote(
            self._core, self._place, self._member, self._last_turn, value, reason=reason
        )
        if voted.changed:
            self._say(VOTED, turn=self._last_turn, value=f"{value:+d}")
        else:
            self._say(VOTED_ALREADY)

    async def _adapter(self, wanted: str) -> None:
        async with self._core.database.session(read_only=True) as session:
            known = [registry.label(adapter) for adapter in await registry.list_adapters(session)]
            found = await registry.find(session, wanted) if wanted and wanted != AUTO else None
        if not wanted:
            chosen = self._choices.adapter or AUTO
            self._say(ADAPTER_IS, adapter=chosen, known=", ".join((AUTO, registry.BASE, *known)))
            return
        if found is not None:
            await self._assistant.make_ready(found)  # what is wrong with it is said now, not at the question
        label = registry.label(found) if found else wanted
        self._choices = replace(self._choices, adapter=None if wanted == AUTO else label)
        self._say(ADAPTER_NOW, adapter=label)

    async def _mode(self, wanted: str) -> None:
        known = ", ".join(MODES)
        if not wanted:
            self._say(MODE_IS, mode=self._choices.mode or "default", known=known)
        elif wanted not in MODES:
            self._say(NO_SUCH_MODE, mode=wanted, known=known)
        else:
            self._choices = replace(self._choices, mode=wanted)
            self._say(MODE_NOW, mode=wanted)

    async def _new(self, words: str) -> None:
        self._place, self._last_turn = new_place(), None
        self._say(NEW)

    async def _help(self, words: str) -> None:
        self._say(HELP, modes=", ".join(MODES))

    def _say(self, text: Text, **parts: object) -> None:
        self._write(text.say(self._language, **parts) + "\n")
