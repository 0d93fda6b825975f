"""Documents that a community gives its bot to read: added, listed, shown, read anew, removed.

Whoever moderates a community manages its documents; files and folders of the machine that runs the bot are
its operator's to give. The work is `bot.knowledge.documents.library`'s.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from bot.access.actor import Actor
from bot.access.rights import may, require
from bot.commands.training import Ended, in_own_process
from bot.knowledge.documents.catalogue import DocumentView, name_of
from bot.knowledge.documents.library import Given, Library, OnProgress, Outcome


@dataclass(frozen=True)
class PassageView:
    """A piece of a document: the headings above it, outermost first, its page (from 1) and link, its text."""

    id: int
    titles: tuple[str, ...]
    page: int | None
    link: str
    text: str


@dataclass(frozen=True)
class Shown:
    """A document with what was found through it (a folder, sitemap or feed) and with its own passages."""

    document: DocumentView
    found: list[DocumentView]
    passages: list[PassageView]


async def add(
    library: Library,
    actor: Actor,
    community_id: int,
    given: Given,
    on_progress: OnProgress = lambda progress: None,
) -> Outcome:
    """Add a file that was sent (`Upload`), an address (text), or a file or folder here (`Path`).

    The next question finds it. What is there already is read anew. Raises NotAllowed, DocumentRefused and
    NotFetched, each with a sentence for people in both languages; DatabaseError.
    """
    require(actor, "documents.manage", community_id)
    if isinstance(given, Path):
        require(actor, "documents.path", community_id)
    return await library.add(community_id, given, by=actor.name, on_progress=on_progress)


async def list_documents(library: Library, actor: Actor, community_id: int) -> list[DocumentView]:
    """What was given to a community, with its state and errors. Raises NotAllowed."""
    require(actor, "documents.manage", community_id)
    return [_as_seen(one, actor, community_id) for one in await library.documents(community_id)]


async def show(library: Library, actor: Actor, community_id: int, named: str) -> Shown:
    """A document, by its id or address, with its passages. Raises NotAllowed, NotFound."""
    require(actor, "documents.manage", community_id)
    document, found, passages = await library.document(community_id, named)
    return Shown(
        _as_seen(document, actor, community_id),
        [_as_seen(one, actor, community_id) for one in found],
        [
            PassageView(
                one.id or 0,
                tuple(one.title_path.split("\n")) if one.title_path else (),
                one.page,
                one.link,
                one.text,
            )
            for one in passages
        ],
    )


async def remove(library: Library, actor: Actor, community_id: int, named: str) -> DocumentView:
    """Take a document out, by its id or address; the next answer knows nothing of it.

    Raises NotAllowed, NotFound.
    """
    require(actor, "documents.manage", community_id)
    removed = await library.remove(community_id, named, by=actor.name)
    return _as_seen(removed, actor, community_id)


async def refresh(
    library: Library,
    actor: Actor,
    community_id: int | None,
    named: str | None = None,
    on_progress: OnProgress = lambda progress: None,
) -> list[Outcome]:
    """Read anew what a community gave, or one document of it; None is all communities, the operator's to ask.

    Raises NotAllowed, NotFound.
    """
    require(actor, "documents.manage", community_id)
    return await library.refresh(community_id, named, by=actor.name, on_progress=on_progress)


def _as_seen(document: DocumentView, actor: Actor, community_id: int) -> DocumentView:
    """A document as this person may see it: where files of this machine lie is its operator's to know."""
    if document.source_kind not in ("file", "folder") or may(actor, "documents.path", community_id):
        return document
    return replace(document, address=name_of(document.address))


async def refresh_in_own_process(data: Path) -> Ended:
    """Read the documents of all communities anew, beside a service that answers meanwhile."""
    return await in_own_process(data, sys.executable, "-m", "bot", "knowledge", "refresh", "--all")
