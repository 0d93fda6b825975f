"""How long a dataset takes to build from a large record, stage by stage, and how much memory.

Run by hand: `python -m tests.benchmarks.dataset [--turns N] [--json]`. Writes a SQLite record of N logged
turns (1,000,000) in conversations of one to five by 20,000 members; three in ten are approved. Questions are
of four to twelve of the demo community's words, answers of 20 to 60. The build runs in a process of its own,
whose peak memory is what counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import wraps
from pathlib import Path
from typing import Any, Final

from bot.demo.seed import seed_pairs
from feedback import conversations, trust
from feedback.database import Database
from training.data import candidates, dataset, splits
from training.settings import TrainingSettings

TURNS: Final = 1_000_000
APPROVED: Final = 0.3
MEMBERS: Final = 20_000
AT_ONCE: Final = 20_000
MOMENT: Final = "2026-11-01 12:00:00.000000"


def main() -> None:
    """Write the record, build in another process, print what it says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.build is not None:
        print(json.dumps(asyncio.run(_build(told.build))))
        return
    with tempfile.TemporaryDirectory(prefix="thumbloop-benchmark-") as folder:
        data = Path(folder)
        started = time.perf_counter()
        asyncio.run(Database(f"sqlite:///{data / 'record.db'}").upgrade())
        _write_record(data / "record.db", told.turns)
        print(f"{told.turns:,} turns written in {time.perf_counter() - started:.0f} s", file=sys.stderr)
        command = [sys.executable, "-m", "tests.benchmarks.dataset", "--build", folder]
        built = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    found = {"turns": told.turns, **json.loads(built.stdout.splitlines()[-1])}
    if told.json:
        print(json.dumps(found, indent=1))
    else:
        _show(found)


def _show(found: dict[str, Any]) -> None:
    pairs = ", ".join(f"{count:,} {split}" for split, count in found["pairs"].items())
    print(f"{found['turns']:,} logged turns: {pairs}")
    for stage, seconds in found["seconds"].items():
        print(f"  {stage:<14}{seconds:8.1f} s")
    print(f"  {'peak memory':<14}{found['peak_mib']:8,.0f} MiB")


async def _build(data: Path) -> dict[str, Any]:
    seconds: dict[str, float] = {}
    _timed(trust, "quarantined", seconds, "quarantined reviews")
    _timed(conversations, "approvals", seconds, "reviews")
    _timed(candidates, "gather", seconds, "reading")
    _timed(dataset, "clean", seconds, "hygiene")
    _timed(splits, "divide", seconds, "splits")
    _timed(dataset, "_write", seconds, "files")
    _timed(dataset, "_freeze", seconds, "files and rows")
    database = Database(f"sqlite:///{data / 'record.db'}")
    started = time.perf_counter()
    built = await dataset.build(
        database, data, name="community", settings=TrainingSettings(), default_persona="plain"
    )
    seconds["in all"] = time.perf_counter() - started
    await database.close()
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds["processor"] = used.ru_utime + used.ru_stime
    return {
        "pairs": built.manifest["pairs"],
        "left_out": built.manifest["left_out"],
        "seconds": {stage: round(taken, 1) for stage, taken in seconds.items()},
        "peak_mib": round(used.ru_maxrss / 1024),
    }


def _timed(module: Any, name: str, seconds: dict[str, float], stage: str) -> None:
    """Let a module's function note how long it took."""
    function: Callable[..., Any] = getattr(module, name)

    def note(started: float) -> None:
        seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - started

    @wraps(function)
    async def awaited(*given: Any, **named: Any) -> Any:
        started = time.perf_counter()
        try:
            return await function(*given, **named)
        finally:
            note(started)

    @wraps(function)
    def called(*given: Any, **named: Any) -> Any:
        started = time.perf_counter()
        try:
            return function(*given, **named)
        finally:
            note(started)

    setattr(module, name, awaited if asyncio.iscoroutinefunction(function) else called)


def _write_record(file: Path, turns: int) -> None:
    """Rows as the journal and the queue would have left them, written without asking them one by one."""
    chance = random.Random(17)
    words = _words()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        _insert(connection, "community", [_community()])
        _insert(connection, "member", [_member(number) for number in range(1, MEMBERS + 1)])
        batch: list[dict[str, Any]] = []
        for turn in _turns(chance, words, turns):
            batch.append(turn)
            if len(batch) == AT_ONCE:
                _keep(connection, batch)
                batch = []
        _keep(connection, batch)
        connection.commit()


def _words() -> list[str]:
    """The words of the demo community's English answers, the commoner ones more often."""
    return [
        word
        for pair in seed_pairs()
        if pair.language == "en"
        for word in re.findall(r"[a-z]+", pair.answer.lower())
    ]


def _turns(chance: random.Random, words: list[str], many: int) -> Iterator[dict[str, Any]]:
    conversation = left = 0
    for number in range(1, many + 1):
        if not left:
            conversation, left = conversation + 1, chance.randint(1, 5)
        left -= 1
        approved = chance.random() < APPROVED
        answer = " ".join(chance.choices(words, k=chance.randint(20, 60))).capitalize() + "."
        yield {
            "id": number,
            "community_id": 1,
            "conversation_id": conversation,
            "member_id": chance.randint(1, MEMBERS),
            "external_id": f"message-{number}",
            "state": "answered",
            "question": f"What is {' '.join(chance.choices(words, k=chance.randint(4, 12)))}?",
            "input": "",
            "answer": answer,
            "mode": "default",
            "language": "en",
            "task_type": "qa",
            "base_model": "base",
            "base_revision": "",
            "prompt_fingerprint": "",
            "prompt_tokens": 50,
            "answer_tokens": 50,
            "first_token_s": 0.1,
            "total_s": 1.0,
            "error_reference": "",
            "asked_at": MOMENT,
            "answered_at": MOMENT,
            "review_state": "approved" if approved else "waiting",
            "approved_answer": answer if approved else "",
            "held_out": 0,
            "queue_rank": 0,
            "claimed_by": "",
        }


def _keep(connection: sqlite3.Connection, turns: list[dict[str, Any]]) -> None:
    """The turns with their conversations, and with a review and its audit entry where one is approved."""
    _insert(
        connection,
        "conversation",
        [
            {"id": number, "community_id": 1, "external_id": f"thread-{number}", "started_at": MOMENT}
            for number in sorted({turn["conversation_id"] for turn in turns})
        ],
    )
    _insert(connection, "turn", turns)
    approved = [turn["id"] for turn in turns if turn["review_state"] == "approved"]
    _insert(
        connection,
        "review",
        [
            {
                "turn_id": turn,
                "reviewer": f"discord:moderator-{turn % 20}",
                "decision": "approve",
                "answer": "",
                "note": "",
                # an approval every two minutes by each
                "decided_at": f"2026-{1 + turn // 100_000 % 12:02}-{1 + turn // 3_600 % 28:02} "
                f"{turn // 150 % 24:02}:{turn % 60:02}:00.000000",
            }
            for turn in approved
        ],
    )
    _insert(
        connection,
        "audit",
        [
            {
                "actor": "mo",
                "action": "review.approve",
                "subject": f"turn {turn}",
                "detail": "{}",
                "at": MOMENT,
            }
            for turn in approved
        ],
    )


def _insert(connection: sqlite3.Connection, table: str, rows: list[dict[str, Any]]) -> None:
    if rows:
        names, places = ", ".join(rows[0]), ", ".join(f":{name}" for name in rows[0])
        connection.executemany(f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({places})", rows)


def _community() -> dict[str, Any]:
    return {
        "id": 1,
        "platform": "discord",
        "external_id": "guild",
        "name": "A large guild",
        "persona": "",
        "language": "auto",
        "default_mode": "default",
        "training_allowed": 1,
        "own_channels": "[]",
        "moderator_roles": "[]",
        "log_channel": "",
        "cooldown_seconds": 3,
        "created_at": MOMENT,
    }


def _member(number: int) -> dict[str, Any]:
    return {
        "id": number,
        "platform": "discord",
        "pseudonym": f"member-{number}",
        "opted_out": 0,
        "default_mode": "",
        "created_at": MOMENT,
    }


if __name__ == "__main__":
    main()
