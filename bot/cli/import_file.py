"""`thumbloop import`: what others wrote: pairs, ratings, and the talk of years."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.cli import options, show
from bot.cli.start import operator, record, start
from feedback.plural import counted, plural

if TYPE_CHECKING:
    from bot.commands.data import Imported
    from bot.commands.imports import ImportView, Preview, Result, TalkImported
    from bot.settings import Settings
    from feedback.imports.records import Options


def import_file(
    context: typer.Context,
    path: Annotated[
        Path | None,
        typer.Argument(metavar="[PATH]", help="A file, a folder or a ZIP; recognised by what it holds."),
    ] = None,
    community: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Community that it belongs to; by default the one that a talk took place in, for pairs one "
            "named like the file.",
        ),
    ] = None,
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Keep the pairs for examinations; never train on them.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it holds, and write nothing.")] = False,
    agreed: Annotated[
        bool,
        typer.Option("--agreed", help="The community agreed that its talk is used; asked for otherwise."),
    ] = False,
    mapping: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="FIELD=KEY",
            help="Which key of the file is the question, answer, input, system, history, messages, chosen, "
            "rejected or label.",
        ),
    ] = None,
    row_type: Annotated[
        str, typer.Option("--type", metavar="TYPE", help="What Axolotl calls rows like these, or we.")
    ] = "",
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Import nothing of a pairs file with a broken line; else the rest goes in."
        ),
    ] = False,
    list_imports: Annotated[bool, typer.Option("--list", help="List what was imported until now.")] = False,
    undo: Annotated[
        int | None,
        typer.Option(
            metavar="IMPORT", min=1, max=options.MOST_ID, help="Take an import back, by its number."
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Import what others wrote: pairs and preferences as approved turns, talk as candidates for the review.

    Chats: DiscordChatExporter (JSON, CSV), Discord's data package, Telegram Desktop (JSON, HTML), Slack.
    Ratings: Open WebUI, Argilla, Label Studio, Langfuse, OpenAI's logs. Training files (.jsonl, .json, .csv,
    .tsv, .parquet, gzipped too): Alpaca, ShareGPT, OpenAI messages, prompt and completion, question and
    answer, TRL's preference and KTO rows, LLaMA-Factory's dataset_info.json.
    """
    settings = start(context)
    if list_imports:
        _show_imports(asyncio.run(_list(settings)), as_json)
    elif undo is not None:
        _show_undone(asyncio.run(_undo(settings, undo)), undo, as_json)
    else:
        _bring_in(settings, path, community, held_out, dry_run, agreed, mapping or [], row_type, strict,
                  as_json)  # fmt: skip


def _bring_in(
    settings: Settings,
    path: Path | None,
    community: str | None,
    held_out: bool,
    dry_run: bool,
    agreed: bool,
    mapping: list[str],
    row_type: str,
    strict: bool,
    as_json: bool,
) -> None:
    from bot.commands import imports
    from feedback.errors import UsageError
    from feedback.imports.records import Options

    if path is None:
        raise UsageError("There is nothing to import.", "Name a file, a folder or a ZIP.")
    pairs = [one.partition("=") for one in mapping]
    if bad := next((field for field, equals, key in pairs if not equals or not key), None):
        raise UsageError(f"--map {bad} is not FIELD=KEY.", "Write --map question=KEY --map answer=KEY.")
    said = Options({field: key for field, _, key in pairs}, row_type)
    if dry_run:
        preview = imports.look(path, said)
        if as_json:
            show.as_json(preview)
        else:
            _show_preview(preview)
        return
    if not agreed and sys.stdin.isatty() and not as_json:
        preview = imports.look(path, said)
        if preview.needs_agreement:
            _show_preview(preview)
            agreed = typer.confirm("Did this community agree that its talk is used?", err=True)
    with show.ProgressView() as view:
        results = asyncio.run(_import(settings, path, said, community, held_out, agreed, strict, view))
    if as_json:
        show.as_json(results[0] if len(results) == 1 else results)
        return
    for result in results:
        _show_result(result)


async def _import(
    settings: Settings,
    path: Path,
    said: Options,
    community: str | None,
    held_out: bool,
    agreed: bool,
    strict: bool,
    view: show.ProgressView,
) -> list[Result]:
    from bot.commands import imports
    from bot.pseudonym_key import pseudonym_key
    from feedback.consent import pseudonym

    units = {"reading": "bytes", "importing": "pairs", "writing candidates": "candidates"}
    async with record(settings) as database:
        return await imports.bring_in(
            database,
            path,
            imported_by=operator(),
            pseudonym=partial(pseudonym, key=pseudonym_key(settings)),
            data_folder=settings.data,
            options=said,
            community=community,
            held_out=held_out,
            agreed=agreed,
            strict=strict,
            on_progress=lambda what, done, total: view.update(what, done, total, unit=units[what]),
        )


async def _list(settings: Settings) -> list[ImportView]:
    from bot.commands import imports

    async with record(settings) as database:
        return await imports.imports(database, operator())


async def _undo(settings: Settings, import_id: int) -> tuple[int, list[str]]:
    from bot.commands import imports
    from training.run import erasure

    async with record(settings) as database:
        turns = await imports.undo(database, import_id, operator())
        return turns, await erasure.carry_out(database, settings.data)


def _show_preview(preview: Preview) -> None:
    for one in preview.files:
        more = "" if one.is_whole else f" and more, of {one.size / 2**20:,.1f} MiB"
        show.say(f"{one.name}: {one.title}, {counted(one.records, 'record')}{more}", style="bold")
        if one.community:
            show.say(f"  from {one.community}")
        for example in one.examples:
            show.say(f"  {' '.join(example.split())[:150]}")
        if one.left_out:
            show.say(f"  left out: {_counts(one.left_out)}")
    for name in preview.unknown:
        show.say(f"{name}: nothing that Thumbloop reads")
    for broken in preview.broken:
        show.say(f"broken: {broken}")


def _show_result(result: Result) -> None:
    from bot.commands.data import Imported

    if isinstance(result, Imported):
        _show_pairs(result)
    else:
        _show_talk(result)


def _show_pairs(imported: Imported) -> None:
    known = f"; {imported.known:,} had been there already" if imported.known else ""
    show.say(
        f"{counted(imported.new, 'pair')} of {imported.file} {plural(imported.new, 'is', 'are')} in the "
        f"community {imported.community} now{known}."
    )
    if imported.waiting:
        show.say(
            f"{imported.waiting:,} of them {plural(imported.waiting, 'waits', 'wait')} for a decision: "
            "`thumbloop review list`."
        )
    if imported.persona:
        show.say(f"Its persona is the system text of the file: {imported.persona}")
    if imported.left_out:
        show.say(f"Columns that were not taken: {', '.join(imported.left_out)}.")
    _show_broken(imported.broken_records, imported.broken)


def _show_talk(talk: TalkImported) -> None:
    if talk.before:
        show.say(
            f"{talk.file} was imported on {talk.before} already, as import {talk.import_id}; nothing is new."
        )
        return
    known = f"; {talk.known:,} had been found before" if talk.known else ""
    show.say(
        f"{counted(talk.messages, 'message')} of {talk.community}: "
        f"{counted(talk.questions, 'answered question')} "
        f"in {counted(talk.threads, 'thread')}."
    )
    show.say(
        f"{counted(talk.cards, 'candidate')} with {counted(talk.phrasings, 'further phrasing')} "
        f"{plural(talk.cards, 'waits', 'wait')} for a decision now{known}: `thumbloop review list`. "
        f"This is import {talk.import_id}."
    )
    if talk.left_out:
        show.say(f"Left out: {_counts(talk.left_out)}.")
    _show_broken(talk.broken, talk.broken_at)


def _show_broken(records: int, first: tuple[str, ...]) -> None:
    if records:
        show.say(f"{counted(records, 'broken record')} left out:")
        for one in first:
            show.say(f"  {one}")


def _show_imports(found: list[ImportView], as_json: bool) -> None:
    if as_json:
        show.as_json(found)
    elif not found:
        show.say("Nothing has been imported yet.")
    else:
        show.table(
            ("import", "source", "format", "community", "turns", "state", "by", "when", "SHA-256"),
            [
                (one.import_id, one.source, one.format, one.community, one.turns, one.state, one.by,
                 one.started_at, one.file_hash[:12])
                for one in found
            ],
        )  # fmt: skip


def _show_undone(undone: tuple[int, list[str]], import_id: int, as_json: bool) -> None:
    turns, datasets = undone
    if as_json:
        show.as_json({"import": import_id, "turns": turns, "datasets": datasets})
        return
    rewritten = f"; rewritten: {', '.join(datasets)}" if datasets else ""
    show.say(f"Import {import_id} is taken back: {counted(turns, 'turn')} erased{rewritten}.")


def _counts(counts: dict[str, Any]) -> str:
    return ", ".join(f"{name} ({count:,})" for name, count in counts.items())
