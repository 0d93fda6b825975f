"""A real library of documents over a record, for tests of the surfaces that show it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bot.knowledge.documents.fetching import Fetcher, FetchLimits
from bot.knowledge.documents.library import Library
from bot.knowledge.documents.pieces import ParseLimits
from bot.knowledge.documents.sandbox import Sandbox
from bot.knowledge.knowledge import Knowledge
from feedback.database import Database


@asynccontextmanager
async def library_of(database: Database, knowledge: Knowledge) -> AsyncIterator[Library]:
    """The library whose documents `knowledge` finds."""
    async with Sandbox(ParseLimits(), at_once=1) as sandbox, Fetcher(FetchLimits()) as fetcher:
        yield Library(database, sandbox, fetcher, knowledge)
