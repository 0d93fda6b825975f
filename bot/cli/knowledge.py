"""`thumbloop knowledge`: what a community gives its bot to read."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from bot.cli import options, show
from bot.cli.start import operator, record, start
from bot.cli.visible import visible
from feedback.plural import counted

if TYPE_CHECKING:
    from bot.commands.documents import Shown
    from bot.knowledge.documents.catalogue import DocumentView
    from bot.knowledge.documents.library import Given, Library, Outcome, Progress
    from bot.knowledge.learning import Lesson
    from bot.settings import Settings
    from feedback.database import Database

app = typer.Typer(
    no_args_is_help=True, help="Give the bot documents to answer from, and look after those that it has."
)

_ADDRESS: Final = re.compile(r"https?://", re.IGNORECASE)
_MOST_REFUSED: Final = 20

Community = Annotated[
    str | None,
    typer.Option(
        metavar="COMMUNITY",
        help="The community: its id, platform:id, or its name; the only one, if there is only one.",
    ),
]
Document = Annotated[str, typer.Argument(metavar="DOCUMENT", help="The document's number, path or address.")]


@app.command()
def add(
    context: typer.Context,
    given: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH|URL...", help="Files, folders, or addresses of pages, sitemaps or feeds."
        ),
    ],
    community: Community = None,
    as_json: options.AsJson = False,
) -> None:
    """Add documents; what is there already is read anew. Stopped half-way, the same command goes on."""
    settings = start(context)
    with show.ProgressView() as view:
        outcomes = asyncio.run(_add(settings, given, community, view))
    _show_outcomes(outcomes, as_json)
    if any(one.error for one in outcomes):
        raise typer.Exit(1)


@app.command("list")
def list_documents(
    context: typer.Context, community: Community = None, as_json: options.AsJson = False
) -> None:
    """List the documents of a community, with their state and what is the matter with them."""
    found = asyncio.run(_list(start(context), community))
    if as_json:
        show.as_json([_plain(one) for one in found])
    elif not found:
        show.say("There are no documents yet; `thumbloop knowledge add` brings some.")
    else:
        _show_documents(found)


@app.command("show")
def show_document(
    context: typer.Context, document: Document, community: Community = None, as_json: options.AsJson = False
) -> None:
    """Show a document's passages, or the documents of a folder, sitemap or feed."""
    shown = asyncio.run(_show(start(context), document, community))
    if as_json:
        show.as_json(
            {
                **_plain(shown.document),
                "found": [_plain(one) for one in shown.found],
                "content": [asdict(one) for one in shown.passages],
            }
        )
        return
    one = shown.document
    show.fields(
        {
            "address": one.address,
            "kind": one.source_kind,
            "state": _state(one),
            "documents": one.documents or None,
            "passages": one.passages,
            "added": one.added_at,
            "by": one.added_by,
            "read": one.refreshed_at,
        },
        title=one.title,
    )
    if shown.found:
        show.say()
        _show_documents(shown.found)
    for passage in shown.passages:
        place = " > ".join(passage.titles)
        page = f"page {passage.page}" if passage.page is not None else ""
        show.say()
        show.say(" · ".join(part for part in (place, page, passage.link) if part) or one.title, style="bold")
        show.say(passage.text)


@app.command()
def remove(
    context: typer.Context, document: Document, community: Community = None, as_json: options.AsJson = False
) -> None:
    """Take a document out; the next answer knows nothing of it."""
    removed = asyncio.run(_remove(start(context), document, community))
    if as_json:
        show.as_json(_plain(removed))
    else:
        through = f", with {counted(removed.documents, 'document')} of it" if removed.documents else ""
        show.say(f"{removed.title} ({removed.address}) was taken out{through}.")


@app.command()
def refresh(
    context: typer.Context,
    document: Annotated[
        str | None,
        typer.Argument(metavar="[DOCUMENT]", help="One document; left out, all of the community."),
    ] = None,
    community: Community = None,
    everywhere: Annotated[bool, typer.Option("--all", help="All documents of all communities.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Read documents anew from their paths and addresses; what has not changed costs nothing."""
    settings = start(context)
    with show.ProgressView() as view:
        outcomes = asyncio.run(_refresh(settings, document, community, everywhere, view))
    if not outcomes and not as_json:
        show.say("There is nothing to read anew; files that were sent stay as they are.")
    _show_outcomes(outcomes, as_json)
    if any(one.error for one in outcomes):
        raise typer.Exit(1)


@app.command()
def learn(context: typer.Context, community: Community = None, as_json: options.AsJson = False) -> None:
    """Learn from the wordings of approved answers now, as the service does daily; what that is worth."""
    from bot.knowledge.learning import FIRST, LEAST

    found = asyncio.run(_learn(start(context), community))
    if as_json:
        show.as_json(found and _plain_lesson(found))
    elif found is None:
        show.say(f"It takes vectors, and {LEAST} wordings of answers that were approved in several.")
    else:
        kept = (
            "It is used from now on." if found.projection is not None else "That is not sure: it stays out."
        )
        show.say(
            f"Of {counted(found.wordings, 'wording')} {found.before:.0%} find their answer among the first "
            f"{FIRST}, and {found.after:.0%} by what the others teach. {kept}"
        )


async def _add(
    settings: Settings, given: Sequence[str], community: str | None, view: show.ProgressView
) -> list[Outcome]:
    from bot.commands import documents
    from bot.errors import DocumentRefused, NotFetched
    from bot.knowledge.documents.library import Outcome

    outcomes = []
    async with _library(settings, community) as (library, community_id):
        for named in given:
            one: Given = named if _ADDRESS.match(named) else Path(named)
            try:
                outcomes.append(await documents.add(library, operator(), community_id, one, _told_to(view)))
            except (DocumentRefused, NotFetched) as error:
                outcomes.append(Outcome(address=named, title=named, error=error))
    return outcomes


async def _list(settings: Settings, community: str | None) -> list[DocumentView]:
    from bot.commands import documents

    async with _library(settings, community) as (library, community_id):
        return await documents.list_documents(library, operator(), community_id)


async def _show(settings: Settings, document: str, community: str | None) -> Shown:
    from bot.commands import documents

    async with _library(settings, community) as (library, community_id):
        return await documents.show(library, operator(), community_id, _named(document))


async def _remove(settings: Settings, document: str, community: str | None) -> DocumentView:
    from bot.commands import documents

    async with _library(settings, community) as (library, community_id):
        return await documents.remove(library, operator(), community_id, _named(document))


async def _refresh(
    settings: Settings, document: str | None, community: str | None, everywhere: bool, view: show.ProgressView
) -> list[Outcome]:
    from bot import service
    from bot.commands import documents

    if everywhere:
        async with (
            record(settings) as database,
            service.open_library(settings, database, service.open_knowledge(settings, database)) as library,
        ):
            return await documents.refresh(library, operator(), None, None, _told_to(view))
    async with _library(settings, community) as (library, community_id):
        named = _named(document) if document is not None else None
        return await documents.refresh(library, operator(), community_id, named, _told_to(view))


async def _learn(settings: Settings, community: str | None) -> Lesson | None:
    from bot import service

    async with record(settings) as database:
        home = await _home(database, community)
        knowledge = service.open_knowledge(settings, database)
        return await knowledge.learn(home) if knowledge is not None else None


@asynccontextmanager
async def _library(settings: Settings, community: str | None) -> AsyncIterator[tuple[Library, int]]:
    """The library, and the id of the community that is meant. Raises NotFound, UsageError."""
    from bot import service

    async with record(settings) as database:
        home = await _home(database, community)
        knowledge = service.open_knowledge(settings, database)
        async with service.open_library(settings, database, knowledge) as library:
            yield library, home


async def _home(database: Database, community: str | None) -> int:
    """The id of the community that is meant. Raises NotFound, UsageError."""
    from bot.commands.communities import find_community, only_community

    async with database.session(read_only=True) as session:
        found = await (
            find_community(session, community) if community is not None else only_community(session)
        )
    assert found.id is not None, "a stored community has its id"
    return found.id


def _named(document: str) -> str:
    """A document as it is kept: by its number, its address, or its whole path."""
    if document.isdigit() or _ADDRESS.match(document) or not Path(document).exists():
        return document
    return str(Path(document).absolute())


def _told_to(view: show.ProgressView) -> Any:
    def tell(progress: Progress) -> None:
        unit = "documents" if progress.step == "reading" else "passages"
        view.update(progress.step, progress.done, progress.total, unit=unit, figures=visible(progress.name))

    return tell


def _show_outcomes(outcomes: Sequence[Outcome], as_json: bool) -> None:
    if as_json:
        show.as_json([_plain_outcome(one) for one in outcomes])
        return
    from bot.chat.documents import left_out

    for one in outcomes:
        did = ", ".join(
            f"{number:,} {what}"
            for what, number in (
                ("new", one.added),
                ("changed", one.changed),
                ("as before", one.unchanged),
                ("gone", one.removed),
                ("refused", len(one.refused)),
            )
            if number
        )
        if one.error is not None:
            show.say(one.error)
            continue
        show.say(f"{one.document_id}  {one.title}: {did or 'nothing'}; {counted(one.passages, 'passage')}.")
        for name, error in one.refused[:_MOST_REFUSED]:
            show.say(f"   {error}" if name in str(error) else f"   {name}: {error}")
        if len(one.refused) > _MOST_REFUSED:
            more = len(one.refused) - _MOST_REFUSED
            show.say(f"   … and {more:,} more: `thumbloop knowledge show {one.document_id}`")
        for line in left_out(one, "en"):
            show.say(f"   {line}")


def _show_documents(found: Sequence[DocumentView]) -> None:
    show.table(
        ("document", "kind", "title", "address", "documents", "passages", "state"),
        [
            (
                one.id,
                one.source_kind,
                one.title,
                one.address,
                one.documents or None,
                one.passages,
                _state(one),
            )
            for one in found
        ],
    )


def _state(one: DocumentView) -> str:
    if one.error is not None:
        return str(one.error)
    if one.state == "reading":
        return "not read to its end; `thumbloop knowledge refresh` goes on"
    return f"{counted(one.refused, 'document')} refused" if one.refused else one.state


def _plain(one: DocumentView) -> dict[str, Any]:
    error = str(one.error) if one.error is not None else ""
    return {name: value for name, value in vars(one).items() if name != "error"} | {"error": error}


def _plain_lesson(one: Lesson) -> dict[str, Any]:
    return {
        "wordings": one.wordings,
        "recall_before": one.before,
        "recall_after": one.after,
        "gain_low": one.gain_low,
        "used": one.projection is not None,
    }


def _plain_outcome(one: Outcome) -> dict[str, Any]:
    return vars(one) | {
        "error": str(one.error) if one.error is not None else "",
        "refused": [{"name": name, "error": str(error)} for name, error in one.refused],
        "notes": [{"name": name, **asdict(note)} for name, note in one.notes],
    }
