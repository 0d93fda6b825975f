"""What a file, folder or ZIP holds, told by its content and not its name, and reading it.

Recognising looks at beginnings only; reading streams. What is a package of several files (Slack, Discord's
data package, LLaMA-Factory) is known by the names that its tool always gives.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Final

from feedback.errors import UsageError
from feedback.imports import (
    argilla,
    discord_chat_exporter,
    discord_package,
    label_studio,
    layouts,
    model_logs,
    open_webui,
    slack,
    telegram,
    telegram_html,
)
from feedback.imports.records import Broken, Format, Options, People, Record, Unreadable
from feedback.imports.rows import NOT_JSON, rows
from feedback.imports.sources import Source, sources
from feedback.imports.training_rows import FIELDS, Layout, fits, read_row

_LOOKED_AT: Final = 20
"""Rows of a file that are held against the formats before it counts as unknown."""
_KEYS_SHOWN: Final = 30

RowReader = Callable[[Mapping[str, Any]], Iterator[Record]]
_OPINIONS: Final[tuple[tuple[Format, Callable[[Mapping[str, Any]], bool], RowReader], ...]] = (
    (open_webui.FEEDBACK, open_webui.is_feedback, open_webui.read_feedback),
    (open_webui.CHATS, open_webui.is_chat, open_webui.read_chat),
    (label_studio.TASKS, label_studio.is_task, label_studio.read_task),
    (label_studio.MINIMAL, label_studio.is_minimal, label_studio.read_minimal),
    (argilla.ARGILLA, argilla.fits, argilla.read),
    (model_logs.OPENAI, model_logs.is_openai, model_logs.read_openai),
    (model_logs.LANGFUSE, model_logs.is_langfuse, model_logs.read_langfuse),
)


class UnknownRows(UsageError):
    """A file has rows that no format fits; `keys` are those of its first row, for a person to map."""

    def __init__(self, name: str, keys: tuple[str, ...]) -> None:
        self.keys = keys
        shown = ", ".join(map(repr, keys[:_KEYS_SHOWN]))
        super().__init__(
            f"{name} has rows that Thumbloop does not know. Their keys are {shown}.",
            "Say which is which: --map question=KEY --map answer=KEY, or --type with Axolotl's name for "
            "them.",
        )


@dataclass(frozen=True)
class Found:
    """Something that was recognised: of what format, in which source; `read` reads it.

    `platform` and `community` are where a talk took place ("discord" and the server's id, for one), as far as
    the export says; `community_name` is what it is called there.
    """

    format: Format
    source: Source
    reader: Callable[[People], Iterator[Record]]
    name: str = ""
    platform: str = "import"
    community: str = ""
    community_name: str = ""

    def read(self, people: People) -> Iterator[Record]:
        """Its records in the order of the file. Raises UsageError for a packed file that is damaged."""
        return self.reader(people)


@dataclass(frozen=True)
class Recognised:
    """What a path holds: what can be read, and the names of files that are nothing known."""

    found: tuple[Found, ...]
    unknown: tuple[str, ...] = ()


def recognise(path: Path, options: Options | None = None) -> Recognised:
    """What the path holds. Raises UsageError when that is nothing known, as UnknownRows where it has rows."""
    options = options or Options()
    every = sources(path)
    if packed := _package(every, options):
        return packed
    found, unknown, why = [], [], ""
    for source in every:
        try:
            found.append(_recognise_one(source, options))
        except UsageError as error:
            if len(every) == 1:
                raise
            unknown.append(source.name)
            why = why or str(error)
    if not found:
        raise UsageError(f"{path} holds nothing that Thumbloop can read. {why}".strip())
    if all(one.format is telegram_html.PAGES for one in found):
        # by name the tenth page would come before the second, and answers before their questions
        found.sort(key=lambda one: telegram_html.place_of(one.source.name))
    return Recognised(tuple(found), tuple(unknown))


def _package(every: list[Source], options: Options) -> Recognised | None:
    """What files are together; None where each is by itself."""
    if days := slack.days(every):
        workspace = slack.workspace(every)
        return Recognised(tuple(Found(slack.EXPORT, one, partial(_slack, one, workspace)) for one in days))
    if package := discord_package.members(every):
        by_name = {source.name: source for source in every}
        return Recognised(
            tuple(
                Found(
                    discord_package.PACKAGE,
                    one,
                    partial(discord_package.read, one, private=discord_package.is_private(one, by_name)),
                    platform="discord",
                )
                for one in package
            )
        )
    if scored := _langfuse(every):
        return scored
    described = [one for one in every if PurePosixPath(one.name).name == "dataset_info.json"]
    return _llama_factory(described[0], every, options) if described else None


def _recognise_one(source: Source, options: Options) -> Found:
    beginning = source.text_beginning()
    if discord_chat_exporter.is_channel(beginning):
        server, name = discord_chat_exporter.server_of(source)
        return Found(
            discord_chat_exporter.JSON,
            source,
            partial(discord_chat_exporter.read_json, source),
            "",
            "discord",
            server,
            name,
        )
    if telegram.is_all_chats(beginning):
        reader = partial(telegram.read_all_chats, source)
        return Found(telegram.ALL_CHATS, source, reader, platform="telegram")
    if telegram.is_chat(beginning):
        chat, name = telegram.community_of(source)
        reader = partial(telegram.read_chat, source)
        return Found(telegram.CHAT, source, reader, "", "telegram", chat, name)
    if telegram_html.is_page(beginning):
        return Found(telegram_html.PAGES, source, partial(telegram_html.read, source), platform="telegram")
    return _recognise_rows(source, options)


def _recognise_rows(source: Source, options: Options) -> Found:
    if options.columns:
        return _laid_out(source, layouts.MAPPED, _mapped(source, options))
    if options.type:
        named = layouts.of_type(options.type, _first_row(source))
        if named is None:
            ours = (one.name for one, _ in layouts.RECOGNISED)
            names = ", ".join(sorted({*layouts.AXOLOTL, *layouts.PREFERRED, *ours}))
            raise UsageError(f"There is no type {options.type!r}.", f"Use one of {names}.")
        return _laid_out(source, *named)
    keys: tuple[str, ...] = ()
    fault = ""
    for number, row in enumerate(rows(source)):
        if number == _LOOKED_AT:
            break
        if isinstance(row, Broken):
            fault = fault or f"{row.place}: {row.reason}."
            continue
        _, item = row
        if not isinstance(item, dict):
            fault = fault or f"{row[0]}: expected an object, found {type(item).__name__}."
            continue
        keys = keys or tuple(map(str, item))
        if discord_chat_exporter.is_csv(item):
            reader = partial(discord_chat_exporter.read_csv, source)
            return Found(discord_chat_exporter.CSV, source, reader, platform="discord")
        for opinions, is_it, read in _OPINIONS:
            if is_it(item):
                return Found(opinions, source, partial(_read_rows, source, read))
        for known, layout in layouts.RECOGNISED:
            if fits(item, layout):
                return _laid_out(source, known, layout)
    raise _unknown(source, keys, fault)


def _laid_out(source: Source, known: Format, layout: Layout) -> Found:
    reader = partial(_read_rows, source, partial(read_row, layout=layout))
    return Found(known, source, reader)


def _read_rows(source: Source, read: RowReader, _: People) -> Iterator[Record]:
    for row in rows(source):
        if isinstance(row, Broken):
            yield row
            continue
        place, item = row
        if not isinstance(item, dict):
            yield Broken(place, f"expected an object, found {type(item).__name__}")
            continue
        try:
            yield from read(item)
        except Unreadable as error:
            yield Broken(place, str(error))


def _slack(source: Source, workspace: slack.Workspace, people: People) -> Iterator[Record]:
    return slack.read(source, people, workspace)


def _langfuse(every: list[Source]) -> Recognised | None:
    """Observations with the scores that lie in files beside them; None where there are no such files."""
    rated = [
        source
        for source in every
        if PurePosixPath(source.name).parent.name == "scores"
        and model_logs.is_langfuse_score(_first_row(source))
    ]
    if not rated:
        return None
    scores = model_logs.langfuse_scores(
        row[1]
        for source in rated
        for row in rows(source)
        if not isinstance(row, Broken) and isinstance(row[1], dict)
    )
    read = partial(model_logs.read_langfuse, scores=scores)
    found = [source for source in every if model_logs.is_langfuse(_first_row(source))]
    others = tuple(one.name for one in every if one not in found and one not in rated)
    return Recognised(
        tuple(Found(model_logs.LANGFUSE, one, partial(_read_rows, one, read)) for one in found), others
    )


def _first_row(source: Source) -> dict[str, Any]:
    return next(
        (row[1] for row in rows(source) if not isinstance(row, Broken) and isinstance(row[1], dict)), {}
    )


def _mapped(source: Source, options: Options) -> Layout:
    """The layout that a person spelled out. Raises UsageError for a field or a key that there is not."""
    for name in options.columns:
        if name not in FIELDS:
            raise UsageError(f"There is no field {name!r} to map.", f"Map {', '.join(FIELDS)}.")
    keys = tuple(map(str, _first_row(source)))
    layout = Layout(dict(options.columns))
    missing = [key for key in layout.resolved(dict.fromkeys(keys)).keys.values() if key not in keys]
    if missing:
        raise UsageError(
            f"{source.name} has no key {missing[0]!r}.",
            f"Its keys are {', '.join(map(repr, keys)) or 'none'}.",
        )
    return layout


def _llama_factory(described: Source, every: list[Source], options: Options) -> Recognised:
    with described.open_utf8() as file:
        try:
            entries = json.load(file)
        except NOT_JSON as error:
            raise UsageError(f"{described.name} is not JSON ({error}).") from error
    by_name = {source.name: source for source in every}
    folder = described.name.rpartition("/")[0]
    found, unknown = [], []
    for name, entry in entries.items() if isinstance(entries, dict) else []:
        file_name = entry.get("file_name") if isinstance(entry, dict) else None
        path = f"{folder}/{file_name}" if folder else str(file_name)
        # a folder of files is one data set too
        its = [source for key, source in by_name.items() if key == path or key.startswith(f"{path}/")]
        if not its:
            unknown.append(str(name))
        for source in its:
            reader = partial(_read_rows, source, partial(read_row, layout=layouts.of_llama_factory(entry)))
            found.append(Found(layouts.LLAMA_FACTORY, source, reader, name=f"{name} ({source.name})"))
    if not found:
        raise UsageError(
            f"{described.name} names no file that is beside it.", "Import the folder with the data files."
        )
    return Recognised(tuple(found), tuple(unknown))


def _unknown(source: Source, keys: tuple[str, ...], fault: str) -> UsageError:
    if not keys:
        return UsageError(
            f"{source.name} is nothing that Thumbloop knows. {fault}".strip(),
            "`thumbloop import --help` lists what it reads.",
        )
    return UnknownRows(source.name, keys)
