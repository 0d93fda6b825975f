"""`thumbloop review`: what waits for a moderator, and deciding on it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from bot.cli import options, show
from bot.cli.start import operator, record, start
from feedback.words import TASK_TYPES, TaskType

if TYPE_CHECKING:
    from bot.commands.review import Decided, Labelled, Queue, QueueEntry, Trusted
    from bot.settings import Settings
    from feedback.database import Database

    Decide = Callable[[Database, int], Awaitable[Decided]]

app = typer.Typer(
    no_args_is_help=True, help="Decide what the bot learns from: approve, edit or reject answers."
)


@app.command("list")
def list_waiting(
    context: typer.Context,
    community: options.Community = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most turns shown.")] = 20,
    as_json: options.AsJson = False,
) -> None:
    """Show the answers that wait for a decision, most useful first."""
    found = asyncio.run(_list(start(context), community, limit))
    if as_json:
        show.as_json(found)
        return
    for entry in found.entries:
        _show_entry(entry)
    show.say(f"{found.waiting} waiting." if found.entries else "Nothing waits for a decision.")


@app.command()
def approve(
    context: typer.Context, turns: options.TurnIds, note: options.Note = "", as_json: options.AsJson = False
) -> None:
    """Take answers as they are."""
    from bot.commands import review

    _decide(
        start(context),
        turns,
        lambda record, turn: review.approve(record, turn, operator(), note=note),
        as_json,
    )


@app.command()
def edit(
    context: typer.Context,
    turn: options.TurnId,
    answer: Annotated[
        str | None,
        typer.Argument(metavar="[ANSWER]", help="The better answer; left out, an editor opens."),
    ] = None,
    note: options.Note = "",
    as_json: options.AsJson = False,
) -> None:
    """Replace an answer by a better one."""
    from bot.commands import review

    settings = start(context)
    better = _edited(asyncio.run(_answer_of(settings, turn))) if answer is None else answer
    _decide(
        settings,
        [turn],
        lambda record, turn: review.edit(record, turn, operator(), better, note=note),
        as_json,
    )


@app.command()
def reject(
    context: typer.Context, turns: options.TurnIds, note: options.Note = "", as_json: options.AsJson = False
) -> None:
    """Keep turns out of training."""
    from bot.commands import review

    _decide(
        start(context),
        turns,
        lambda record, turn: review.reject(record, turn, operator(), note=note),
        as_json,
    )


@app.command()
def undo(context: typer.Context, turns: options.TurnIds, as_json: options.AsJson = False) -> None:
    """Take back the newest decision on turns."""
    from bot.commands import review

    _decide(start(context), turns, lambda record, turn: review.undo(record, turn, operator()), as_json)


@app.command("task-type")
def task_type(
    context: typer.Context,
    turn: options.TurnId,
    kind: Annotated[TaskType, typer.Argument(metavar="TYPE", help=f"One of {', '.join(TASK_TYPES)}.")],
    as_json: options.AsJson = False,
) -> None:
    """Say what kind of answer a turn has, where the rules guessed wrong."""
    labelled = asyncio.run(_label(start(context), turn, kind))
    if as_json:
        show.as_json(labelled)
    else:
        show.say(f"Turn {turn} is {kind}; the next dataset has it so.")


@app.command()
def trust(
    context: typer.Context,
    reviewer: Annotated[str, typer.Argument(help="The reviewer, as the record names them.")],
    as_json: options.AsJson = False,
) -> None:
    """Accept for training a new reviewer's approvals that came faster than anybody reads."""
    trusted = asyncio.run(_trust(start(context), reviewer))
    if as_json:
        show.as_json(trusted)
    else:
        show.say(f"{reviewer} is trusted; {trusted.released} quarantined approvals go into the next dataset.")


async def _label(settings: Settings, turn: int, kind: TaskType) -> Labelled:
    from bot.commands import review

    async with record(settings) as database:
        return await review.label_task_type(database, turn, kind, operator())


async def _trust(settings: Settings, reviewer: str) -> Trusted:
    from bot.commands import review

    async with record(settings) as database:
        return await review.trust(database, reviewer, approvals=settings.training.held_burst, by=operator())


async def _list(settings: Settings, community: str | None, limit: int) -> Queue:
    from bot.commands import review

    async with record(settings) as database:
        return await review.queue(database, operator(), community=community, limit=limit)


async def _answer_of(settings: Settings, turn: int) -> str:
    from bot.commands import review

    async with record(settings) as database:
        found = await review.find(database, turn)
        return found.approved_answer or found.answer


def _decide(settings: Settings, turns: list[int], decide: Decide, as_json: bool) -> None:
    """Decide on each turn by itself, in order; the first refusal ends it, and what was decided stands."""
    decided: list[Decided] = []

    async def decide_all() -> None:
        async with record(settings) as database:
            for turn in turns:
                decided.append(await decide(database, turn))
                if not as_json:
                    show.say(_account(decided[-1]))

    try:
        asyncio.run(decide_all())
    finally:
        if as_json:
            show.as_json(decided)


def _account(decided: Decided) -> str:
    again = "" if decided.changed else " already"
    if decided.trains:
        then = "its pair goes into the next dataset"
    elif decided.why_not:
        then = f"but it is not trained on: {decided.why_not}"
    else:
        then = ""
    sentence = f"Turn {decided.turn_id} is{again} {decided.state}"
    return f"{sentence}; {then}." if then else f"{sentence}."


def _show_entry(entry: QueueEntry) -> None:
    from bot.chat.review import reasons_of

    votes = f"+{entry.votes_up} -{entry.votes_down}" if entry.votes_up or entry.votes_down else ""
    about = (
        entry.community,
        entry.language,
        entry.mode,
        entry.task_type,
        "from imported talk" if entry.evidence else entry.adapter,
        votes,
        ", ".join(entry.reasons),
    )
    show.fields(
        {
            "question": entry.question,
            "input": entry.input,
            "answer": entry.answer,
            "suggested": "\n".join(entry.suggested_answers),
            "why proposed": ", ".join(reasons_of(entry, "en")),
            "also asked as": "\n".join(entry.evidence.phrasings) if entry.evidence else "",
            "other answers": "\n".join(entry.evidence.answers) if entry.evidence else "",
            "claimed by": entry.claimed_by,
        },
        title=f"{entry.turn_id}  " + " · ".join(part for part in about if part),
    )
    show.say()


def _edited(answer: str) -> str:
    """What the person makes of the answer in their editor. Raises UsageError without a terminal or editor."""
    import os
    import shlex
    import subprocess
    import sys
    import tempfile
    from pathlib import Path

    from feedback.errors import UsageError

    if not sys.stdin.isatty():
        raise UsageError("The better answer is missing.", "Write it after the turn's number.")
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory(prefix="thumbloop-") as folder:
        file = Path(folder) / "answer.md"
        file.write_text(answer + "\n", encoding="utf-8")
        try:
            subprocess.run([*shlex.split(editor), str(file)], check=True)
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            raise UsageError(
                f"The editor {editor!r} failed, so nothing was decided.",
                "Set EDITOR to one that is installed, or write the answer after the turn's number.",
            ) from error
        return file.read_text(encoding="utf-8").strip()
