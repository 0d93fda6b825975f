"""How long a community's past takes to become candidates.

Run by hand: `python -m tests.benchmarks.past [--messages N] [--bytes-each N]`. Writes an export as
DiscordChatExporter does, of generated talk of 2,000 people: most questions answered, by a reply or a mention,
some thanked for, small talk in between. Reads and mines it in a process of its own, whose peak memory is what
counts; half of the messages first, since twice the messages must take twice the time. Real exports have a
kilobyte a message, most of it addresses of pictures: `--bytes-each` fills them up to that.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

_THINGS: Final = (
    "router",
    "printer",
    "kernel",
    "editor",
    "database",
    "compiler",
    "garden",
    "camera",
    "client",
)
_PARTS: Final = (
    "cache",
    "config",
    "driver",
    "update",
    "password",
    "backup",
    "log",
    "socket",
    "plugin",
    "battery",
)
_TOPICS: Final = tuple(f"{thing} {part}" for thing in _THINGS for part in _PARTS)
_ASK: Final = (
    "How do I reset the {0} after step {1}?",
    "does anyone know why my {0} fails with error {1}?",
    "Is there a way to move the {0} to disk {1}",
    "i get error {1} when I start the {0}, what can I do?",
    "Jak ustawić {0}, żeby działał z wersją {1}?",
)
_TELL: Final = (
    "You have to open the settings, find the {0} and set number {1} there, then start again.",
    "try `fix --{1}` on the {0}, it rebuilds what is broken because the old file is stale",
    "Use the second menu: the {0} has an entry called {1} which does exactly that.",
    "Musisz wejść w ustawienia, wybrać {0} i wpisać {1}.",
)
_CHAT: Final = (
    "lol",
    "good morning everyone",
    "brb",
    "nice weather today",
    "that was a great match",
    "haha yes",
    "who wants to play tonight?",
    "idk",
    "so tired",
    "what's up",
)


def write_export(path: Path, messages: int, seed: int = 1, bytes_each: int = 0) -> None:
    """An export of one channel with that many messages, of 2,000 people over some years.

    Each is filled up to `bytes_each` with the address of its author's picture.
    """
    random.seed(seed)
    moment = datetime(2020, 1, 1, tzinfo=UTC)
    written = 0
    waiting: list[tuple[str, str, str, int]] = []
    thanks: list[tuple[str, str]] = []
    with path.open("w", encoding="utf-8") as file:
        file.write('{"guild": {"id": "1", "name": "Generated"}, "channel": {"id": "2"}, "messages": [\n')
        while written < messages:
            moment += timedelta(seconds=random.expovariate(1 / 45))
            drawn = random.random()
            author, reply, mentions, reactions = str(random.randrange(2000)), "", [], []
            if waiting and drawn < 0.3:
                asker, question, topic, number = waiting.pop(random.randrange(min(4, len(waiting))))
                text = random.choice(_TELL).format(topic, number)
                reply = question if random.random() < 0.5 else ""
                mentions = [asker] if not reply else []
                reactions = [("✅", 1)] if random.random() < 0.15 else []
                thanks.append((asker, author))
            elif thanks and drawn < 0.4:
                author, helper = thanks.pop(0)
                text, mentions = random.choice(("thanks, that worked", "dzięki!", "thx")), [helper]
            elif drawn < 0.7:
                topic, number = random.choice(_TOPICS), random.randrange(10_000)
                text = random.choice(_ASK).format(topic, number)
                waiting = [*waiting[-6:], (author, str(written), topic, number)]
            else:
                text = random.choice(_CHAT)
            if written:
                file.write(",\n")
            message = _message(written, moment, author, text, reply, mentions, reactions)
            line = json.dumps(message, ensure_ascii=False)
            if len(line) < bytes_each:
                message["author"]["avatarUrl"] = "https://cdn.example.org/".ljust(bytes_each - len(line), "a")
                line = json.dumps(message, ensure_ascii=False)
            file.write(line)
            written += 1
        file.write(f'\n], "messageCount": {written}}}\n')


def _message(
    number: int,
    moment: datetime,
    author: str,
    text: str,
    reply: str,
    mentions: list[str],
    reactions: list[tuple[str, int]],
) -> dict[str, Any]:
    message: dict[str, Any] = {
        "id": str(number),
        "type": "Reply" if reply else "Default",
        "timestamp": moment.isoformat(),
        "timestampEdited": None,
        "isPinned": False,
        "content": text,
        "author": {
            "id": author,
            "name": f"user_{author}",
            "isBot": False,
            "roles": [],
            "nickname": f"User {author}",
        },
        "attachments": [],
        "embeds": [],
        "stickers": [],
        "reactions": [
            {"emoji": {"id": "", "name": name, "code": name}, "count": count} for name, count in reactions
        ],
        "mentions": [{"id": one, "name": f"user_{one}", "nickname": f"User {one}"} for one in mentions],
    }
    if reply:
        message["reference"] = {"messageId": reply, "channelId": "2", "guildId": "1"}
    return message


def _mine(path: Path) -> None:
    from feedback.consent import pseudonym
    from feedback.imports.recognising import recognise
    from feedback.imports.records import Message, People
    from training.data.mining.cards import mine

    started = time.monotonic()
    people = People(lambda external_id: pseudonym("discord", external_id, b"benchmark"))
    found = recognise(path).found[0]
    mined = mine((one for one in found.read(people) if isinstance(one, Message)), people.names)
    seconds, busy = time.monotonic() - started, time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{mined.messages:>10,} messages: {seconds:6.1f} s ({busy:.1f} s of processor), "
        f"peak {peak:,.0f} MiB; {mined.threads:,} threads, {mined.questions:,} answered questions, "
        f"{len(mined.cards):,} cards"
    )


def main() -> None:
    """Write the exports, and mine each in a process of its own, so that peaks are told apart."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--bytes-each", type=int, default=0, help="fill each message up to that")
    parser.add_argument("--whole", action="store_true", help="leave the half out")
    parser.add_argument("--mine", type=Path, help="mine that export, and write none")
    chosen = parser.parse_args()
    if chosen.mine:
        _mine(chosen.mine)
        return
    with tempfile.TemporaryDirectory() as folder:
        for messages in (chosen.messages,) if chosen.whole else (chosen.messages // 2, chosen.messages):
            path = Path(folder, f"{messages}.json")
            write_export(path, messages, bytes_each=chosen.bytes_each)
            print(f"{path.stat().st_size / 2**20:,.0f} MiB:", end="", flush=True)
            subprocess.run([sys.executable, "-m", "tests.benchmarks.past", "--mine", str(path)], check=True)
            path.unlink()


if __name__ == "__main__":
    main()
