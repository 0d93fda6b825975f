"""Documents as chats and the console show them: what an addition did, the list, one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bot.access.actor import Actor
from bot.chat.context import ChatContext
from bot.commands import documents
from bot.commands.documents import Shown
from bot.errors import DocumentsOff
from bot.knowledge.documents.catalogue import LISTS, DocumentView
from bot.knowledge.documents.library import Given, Library, Outcome
from bot.texts import (
    DOCUMENT_ADDED,
    DOCUMENT_CHANGED,
    DOCUMENT_HOLDS,
    DOCUMENT_REMOVED,
    DOCUMENT_UNCHANGED,
    DOCUMENTS_GONE,
    DOCUMENTS_REFUSED,
    DOCUMENTS_TAKEN,
    LEFT_ASIDE,
    LEFT_ASIDE_KINDS,
    LEFT_OUT,
    NO_DOCUMENTS,
    PASSAGES,
    SOURCE_PAGE,
    describe_error,
)
from feedback.words import Language

MOST_LISTED: Final = 20
MOST_REFUSED: Final = 5
MOST_SHOWN: Final = 3
"""Passages of a document that are shown; the console shows all."""
MOST_CHARACTERS: Final = 300
"""Of each."""


async def add(context: ChatContext, actor: Actor, community: int, given: Given, language: Language) -> str:
    """Add what was sent or named to a community; what that did. Raises as `documents.add`."""
    outcome = await documents.add(_library(context), actor, community, given)
    return described(outcome, language)


async def listed(context: ChatContext, actor: Actor, community: int, language: Language) -> str:
    """The documents of a community, a line each. Raises NotAllowed."""
    found = await documents.list_documents(_library(context), actor, community)
    if not found:
        return NO_DOCUMENTS.say(language)
    lines = [line(one, language) for one in found[:MOST_LISTED]]
    return "\n".join([*lines, f"… +{len(found) - MOST_LISTED}"] if len(found) > MOST_LISTED else lines)


async def shown(context: ChatContext, actor: Actor, community: int, named: str, language: Language) -> str:
    """One document with the beginning of what it says. Raises NotAllowed, NotFound."""
    found = await documents.show(_library(context), actor, community, named)
    return "\n\n".join([line(found.document, language), *_beginning(found, language)])


async def remove(context: ChatContext, actor: Actor, community: int, named: str, language: Language) -> str:
    """Take a document out. Raises NotAllowed, NotFound."""
    gone = await documents.remove(_library(context), actor, community, named)
    return DOCUMENT_REMOVED.say(language, name=gone.title or gone.address)


async def refresh(
    context: ChatContext, actor: Actor, community: int, named: str | None, language: Language
) -> str:
    """Read one document anew, or all of a community. Raises NotAllowed, NotFound."""
    outcomes = await documents.refresh(_library(context), actor, community, named)
    if not outcomes:
        return NO_DOCUMENTS.say(language)
    return "\n".join(described(outcome, language) for outcome in outcomes)


def described(outcome: Outcome, language: Language) -> str:
    """What an addition or a refresh did, in a few lines of Markdown."""
    name = f"**{outcome.title or outcome.address}**"
    if outcome.error is not None:
        return f"{name}: {describe_error(outcome.error, language)}"
    if outcome.source_kind in LISTS:
        counts = (outcome.added, outcome.changed, outcome.unchanged, outcome.removed)
        added, changed, unchanged, removed = counts
        said = DOCUMENTS_TAKEN.say(language, name=name, added=added, changed=changed, unchanged=unchanged)
        if removed:
            said += " " + DOCUMENTS_GONE.say(language, removed=removed)
    else:
        text = (
            DOCUMENT_ADDED if outcome.added else DOCUMENT_CHANGED if outcome.changed else DOCUMENT_UNCHANGED
        )
        said = text.say(language, name=name, passages=outcome.passages)
    if outcome.refused:
        said += "\n" + DOCUMENTS_REFUSED.say(language, refused=len(outcome.refused))
        said += "".join(f"\n- {describe_error(why, language)}" for _, why in outcome.refused[:MOST_REFUSED])
    return "\n".join([said, *(f"- {one}" for one in left_out(outcome, language)[:MOST_REFUSED])])


def left_out(outcome: Outcome, language: Language) -> list[str]:
    """What was left out of documents that were taken, and what was left aside beside them, a line each."""
    lines = [
        f"{name}: {LEFT_OUT[note.kind].say(language, count=note.count, first=note.first)}"
        for name, note in outcome.notes
    ]
    if outcome.skipped:
        kinds = [
            f"{number} {LEFT_ASIDE_KINDS[kind].say(language) if kind in LEFT_ASIDE_KINDS else kind}"
            for kind, number in outcome.skipped.items()
        ]
        lines.append(LEFT_ASIDE.say(language, what=", ".join(kinds)))
    return lines


def line(one: DocumentView, language: Language) -> str:
    """A document in a line of Markdown: its number, by which commands name it, its name, what it holds."""
    held = PASSAGES.say(language, passages=one.passages)
    if one.source_kind in LISTS:
        held = DOCUMENT_HOLDS.say(language, documents=one.documents, passages=one.passages)
    said = f"{one.id} · **{one.title or one.address}** · {held}"
    return f"{said} · {describe_error(one.error, language)}" if one.error else said


def _beginning(found: Shown, language: Language) -> Sequence[str]:
    lines = []
    for one in found.passages[:MOST_SHOWN]:
        page = [SOURCE_PAGE.say(language, page=one.page)] if one.page is not None else []
        where = ", ".join([" › ".join(one.titles), *page]) if one.titles else "".join(page)
        text = " ".join(one.text.split())
        text = text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS].rstrip()}…"
        lines.append(f"*{where}*\n{text}" if where else text)
    more = len(found.passages) - MOST_SHOWN
    return [*lines, f"… +{more}"] if more > 0 else lines


def _library(context: ChatContext) -> Library:
    if context.library is None:
        raise DocumentsOff
    return context.library
