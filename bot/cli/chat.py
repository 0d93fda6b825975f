"""`thumbloop chat`: a conversation at the terminal. Ctrl-C stops the answer under way, or else leaves."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from bot.cli import show
from bot.cli.start import Invocation, invocation, opening, record, start, user
from feedback.words import Mode

if TYPE_CHECKING:
    from bot.platforms.terminal import Choices, TerminalChat
    from bot.settings import Settings


def chat(
    context: typer.Context,
    adapter: Annotated[
        str | None,
        typer.Option(
            metavar="ADAPTER", help="Who answers: name@version, a name for its newest version, or base."
        ),
    ] = None,
    mode: Annotated[Mode | None, typer.Option(help="How answers are written.")] = None,
) -> None:
    """Talk with the bot and vote on its answers; there, /help lists the commands."""
    from bot.platforms.terminal import Choices

    settings = start(context)
    stack = contextlib.AsyncExitStack()
    # a runner, not asyncio.run: between two lines Ctrl-C must reach input(), not a task
    with asyncio.Runner() as runner:
        try:
            opened = runner.run(_open(stack, settings, Choices(adapter, mode)))
            _talk(runner, opened, invocation(context))
        finally:
            runner.run(stack.aclose())


async def _open(stack: contextlib.AsyncExitStack, settings: Settings, choices: Choices) -> TerminalChat:
    from bot import service
    from bot.platforms import terminal

    database = await stack.enter_async_context(record(settings))
    await terminal.move_in(database)
    if choices.adapter is not None:
        label = await terminal.adapter_label(database, choices.adapter)
        choices = terminal.Choices(label, choices.mode)
    with show.waiting(opening(settings)):
        core, assistant = await stack.enter_async_context(service.open_assistant(settings, database))
    return terminal.TerminalChat(
        core, assistant, user(), show.write, choices=choices, language=show.language()
    )


def _talk(runner: asyncio.Runner, conversation: TerminalChat, call: Invocation) -> None:
    if sys.stdin.isatty():
        with contextlib.suppress(ImportError):  # arrow keys and history, where the system has them
            import readline  # noqa: F401
    runner.run(conversation.welcome())
    while True:
        try:
            line = input("› " if sys.stdin.isatty() else "")
        except EOFError:
            return
        try:
            if not runner.run(conversation.take(line)):
                return
        except KeyboardInterrupt:
            if call.terminated:
                raise
            # only the answer has been stopped; the conversation goes on
