"""How long a write to the record takes while others write too, and how many fail.

Run by hand: `python -m tests.benchmarks.record [--json] [--writes N] [--folder PLACE | --url URL]`. 1, 16 and
64 callers at once each write what a question costs, one thing after the other and without a pause: the
question, its answer, a vote, each in a session of its own. A write is timed from asking for the session to
the end of its commit, so waiting for the others counts. `commit_ms` is one row and its commit by the bare
`sqlite3` module: what the disk takes, without anything of ours.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from feedback import journal, votes
from feedback.database import Database
from feedback.errors import ThumbloopError
from feedback.journal import Answered
from feedback.words import TurnId

AT_ONCE: Final = (1, 16, 64)
WRITES: Final = 10_000
COMMITS: Final = 200
SHARES: Final = (0.5, 0.95, 0.99)
ANSWER: Final = Answered(
    answer="An answer of some length. " * 20, mode="default", language="en", base_model="base"
)


@dataclass
class Measured:
    """One round: the seconds that each write took, failed ones included, and the sentences of those."""

    seconds: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    whole_s: float = 0.0

    def figures(self) -> dict[str, Any]:
        ordered = sorted(self.seconds)
        at = {f"p{share * 100:.0f}_ms": ordered[int(share * len(ordered))] for share in SHARES}
        return {
            "writes": len(ordered),
            "failed": sum(self.failures.values()),
            "writes_per_s": round(len(ordered) / self.whole_s),
            **{name: round(seconds * 1000, 1) for name, seconds in {**at, "max_ms": ordered[-1]}.items()},
            "failures": dict(self.failures),
        }


class Caller:
    """Asks, is answered and votes, in a conversation of its own."""

    def __init__(self, database: Database, name: str, measured: Measured) -> None:
        self._database = database
        self._name = name
        self._measured = measured

    async def write(self, writes: int) -> None:
        """Write that many times."""
        turn: TurnId | None = None
        for number in range(writes):
            began = time.perf_counter()
            try:
                turn = await self._next(number, turn)
            except ThumbloopError as error:
                self._measured.failures[str(error)] += 1
            self._measured.seconds.append(time.perf_counter() - began)

    async def _next(self, number: int, turn: TurnId | None) -> TurnId | None:
        async with self._database.session() as session:
            if turn is None or number % 3 == 0:
                return await self._ask(session, number)
            if number % 3 == 1:
                await journal.record_answer(session, turn, ANSWER)
            else:
                voter = await journal.member(session, "web", self._name)
                await votes.vote(session, turn_id=turn, member_id=voter.id or 0, value=1)
        return turn

    async def _ask(self, session: Any, number: int) -> TurnId:
        community = await journal.community(session, "web", "one")
        member = await journal.member(session, "web", self._name)
        conversation = await journal.conversation(session, community.id or 0, self._name)
        asked = await journal.ask(
            session,
            community_id=community.id or 0,
            conversation_id=conversation.id or 0,
            member_id=member.id,
            external_id=f"{self._name}.{number}",
            question="What is it that takes so long?",
            mode="default",
            language="en",
        )
        await journal.history(session, conversation.id or 0, asked.turn.id or 0, 5)
        return TurnId(asked.turn.id or 0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.record", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--writes", type=int, default=WRITES, help=f"writes a round (default: {WRITES:,})")
    parser.add_argument(
        "--folder", help="where the SQLite file is made (default: the folder for temporary files)"
    )
    parser.add_argument("--url", help="an empty PostgreSQL database to write to instead")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="thumbloop-benchmark-", dir=options.folder) as folder:
        url = options.url or f"sqlite:///{Path(folder) / 'record.db'}"
        figures = {
            "commit_ms": round(commit_s(Path(folder)) * 1000, 2),
            "at_once": asyncio.run(measure(url, options.writes)),
        }
    print(json.dumps(figures, indent=1) if options.json else as_table(figures))


async def measure(url: str, writes: int) -> dict[int, dict[str, Any]]:
    """The figures of each round, by how many wrote at once."""
    database = Database(url)
    await database.upgrade()
    found = {}
    for callers in AT_ONCE:
        measured = Measured()
        began = time.perf_counter()
        await asyncio.gather(
            *(
                Caller(database, f"{callers}.{number}", measured).write(-(-writes // callers))
                for number in range(callers)
            )
        )
        measured.whole_s = time.perf_counter() - began
        found[callers] = measured.figures()
        print(f"{callers} at once: {measured.whole_s:.0f} s", file=sys.stderr)
    await database.close()
    return found


def commit_s(folder: Path) -> float:
    """The median seconds of one row and its commit in that folder, as SQLite does it alone."""
    with closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as bare:
        bare.execute("PRAGMA journal_mode = WAL")
        bare.execute("CREATE TABLE row (text TEXT)")
        seconds = []
        for _ in range(COMMITS):
            began = time.perf_counter()
            bare.execute("INSERT INTO row VALUES (?)", (ANSWER.answer,))
            seconds.append(time.perf_counter() - began)
    return median(seconds)


def as_table(figures: dict[str, Any]) -> str:
    """The figures for people."""
    rows = [
        f"{callers:>7}"
        + "".join(f"{found[name]:>10,}" for name in ("writes", "failed", "writes_per_s"))
        + "".join(f"{found[name]:>10,.1f}" for name in ("p50_ms", "p95_ms", "p99_ms", "max_ms"))
        for callers, found in figures["at_once"].items()
    ]
    head = f"{'at once':>7}" + "".join(
        f"{name:>10}" for name in ("writes", "failed", "a second", "p50 ms", "p95 ms", "p99 ms", "max ms")
    )
    return "\n".join([head, *rows, f"The disk takes {figures['commit_ms']} ms a commit."])


if __name__ == "__main__":
    main()
