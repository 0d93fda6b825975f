"""Mining the talk of an export: in this process, or in one of its own where others wait for answers.

Pure Python that runs for minutes would make every token of an answer wait its turn; a process of its own, at
low priority, does not. It ends with whoever waits for it; what it noted stays for the next time.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from feedback.errors import UsageError
from feedback.imports.recognising import Found, recognise
from feedback.imports.records import Broken, Message, Options, People
from training.data.mining.cards import Mined, mine
from training.data.mining.notes import Notes

NICE: Final = 10
"""How much lower than the service's the priority of a process of its own is."""

Pseudonym = Callable[[str, str], str]
"""Makes the record's name of a platform's user (`consent.pseudonym` with its key)."""
OnProgress = Callable[[str, int, int], None]
"""Called with what is done, and how much of how much: bytes while reading, cards or pairs while writing."""


@dataclass(frozen=True)
class Talk:
    """What to mine: of what a path holds, the talk of one community; `pseudonym` and all else can be pickled.

    `opted_out` are pseudonyms whose words are not taken. In `data_folder`, if any, is noted what was found,
    under `file_hash`.
    """

    path: Path
    options: Options | None
    platform: str
    community: str
    pseudonym: Pseudonym
    opted_out: frozenset[str]
    data_folder: Path | None
    file_hash: str

    def files(self) -> list[Found]:
        """The files of that talk. Raises UsageError for what is nothing known any more."""
        return [
            one
            for one in recognise(self.path, self.options).found
            if one.format.kind == "talk" and (one.platform, one.community) == (self.platform, self.community)
        ]


@dataclass
class MinedTalk:
    """What came of it: with counts of what was left out, and where broken records are."""

    mined: Mined
    left_out: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)


def mine_talk(talk: Talk, on_progress: OnProgress) -> MinedTalk:
    """Read the files and find the candidates in their talk. Raises UsageError for a damaged archive."""
    files = talk.files()
    people = People(partial(talk.pseudonym, talk.platform))
    broken: list[str] = []
    total = sum(one.source.size for one in files)
    finished = 0
    at: list[Found] = []

    def messages() -> Iterator[Message]:
        nonlocal finished
        for one in files:
            at[:] = [one]
            for record in one.read(people):
                if isinstance(record, Broken):
                    broken.append(f"{name_of(one)}, {record.place}: {record.reason}")
                elif isinstance(record, Message):
                    yield record
            finished += one.source.size
            at.clear()

    mined = mine(
        messages(),
        people.names,
        opted_out=talk.opted_out,
        notes=Notes(talk.data_folder, talk.file_hash) if talk.data_folder is not None else None,
        on_message=lambda: on_progress("reading", finished + sum(one.source.meter.done for one in at), total),
    )
    return MinedTalk(mined, people.left_out + mined.left_out, broken)


async def mine_apart(talk: Talk, on_progress: OnProgress) -> MinedTalk:
    """Do the same in a process of its own. Raises UsageError as it does, and when the process ends early."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_in_a_process, args=(sender, talk), daemon=True)
    process.start()
    sender.close()  # so that the end of the process ends what is received
    try:
        return await asyncio.to_thread(_received, receiver, on_progress)
    finally:
        process.terminate()
        await asyncio.to_thread(process.join)
        process.close()


def name_of(found: Found) -> str:
    """What people call a file that was found."""
    return found.name or found.source.name


def _in_a_process(sender: Connection, talk: Talk) -> None:
    os.nice(NICE)
    try:
        done = mine_talk(talk, lambda *progress: sender.send(("progress", progress)))
    except UsageError as error:
        sender.send(("refused", (error.problem, error.remedy)))
    else:
        sender.send(("done", done))


def _received(receiver: Connection, on_progress: OnProgress) -> MinedTalk:
    try:
        while True:
            kind: str
            said: Any
            kind, said = receiver.recv()
            match kind:
                case "progress":
                    on_progress(*said)
                case "refused":
                    raise UsageError(*said)
                case _:
                    assert isinstance(said, MinedTalk)
                    return said
    except EOFError as error:
        raise UsageError(
            "The process that read the files ended early.",
            "Start the import again: it goes on where it was. The log says more.",
        ) from error
