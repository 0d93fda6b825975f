"""`thumbloop ask`: one question, one answer, written as it comes."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Annotated

import typer

from bot.cli import options, show
from bot.cli.start import opening, record, start, user
from feedback.plural import counted
from feedback.words import Mode

if TYPE_CHECKING:
    from bot.questions import Finished
    from bot.settings import Settings


def ask(
    context: typer.Context,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="What you would like to know.")],
    adapter: Annotated[
        str | None,
        typer.Option(
            metavar="ADAPTER", help="Who answers: name@version, a name for its newest version, or base."
        ),
    ] = None,
    mode: Annotated[Mode | None, typer.Option(help="How the answer is written.")] = None,
    community: options.Community = None,
    as_json: options.AsJson = False,
) -> None:
    """Ask a question; the turn is kept, in the terminal's community unless another is named."""
    settings = start(context)
    finished = asyncio.run(_ask(settings, question, adapter, mode, community, aloud=not as_json))
    if as_json:
        show.as_json(finished)
    else:
        show.note(f"turn {finished.turn_id} · {finished.adapter}{_cost(finished)}")


async def _ask(
    settings: Settings,
    text: str,
    adapter: str | None,
    mode: Mode | None,
    community: str | None,
    *,
    aloud: bool,
) -> Finished:
    from bot import service
    from bot.answering.prompt import clean_question
    from bot.chat import sources
    from bot.platforms import terminal
    from bot.questions import Finished, TextPiece

    # what can be refused is refused before the model is loaded
    clean_question(text, settings.answering.max_question_characters)
    async with record(settings) as database:
        if community is None:
            await terminal.move_in(database)
        place = await terminal.place_in(database, community) if community else terminal.new_place()
        label = await terminal.adapter_label(database, adapter) if adapter else None
        choices = terminal.Choices(label, mode)
        async with contextlib.AsyncExitStack() as stack:
            with show.waiting(opening(settings)):
                _, assistant = await stack.enter_async_context(service.open_assistant(settings, database))
            asked = assistant.ask(terminal.question(place, user(), text, choices))
            finished: Finished | None = None
            async with contextlib.aclosing(asked) as events:
                async for event in events:
                    if isinstance(event, Finished):
                        finished = event
                    elif isinstance(event, TextPiece) and aloud:
                        show.write(f"\n\n{event.text}" if event.starts_over else event.text)
            if aloud:
                show.write("\n")
                for line in sources.lines(finished.sources if finished else (), "en"):
                    show.note(line)
    assert finished is not None, "an answer that does not fail finishes"
    return finished


def _cost(finished: Finished) -> str:
    usage = finished.usage
    return f" · {counted(usage.answer_tokens, 'token')} in {show.duration(usage.total_s)}" if usage else ""
