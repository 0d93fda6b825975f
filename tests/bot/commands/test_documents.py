"""Who may give a community's bot documents, and what they see of those of others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.access.actor import Actor
from bot.commands import documents
from bot.errors import NotAllowed
from bot.knowledge.documents.fetching import Fetcher
from bot.knowledge.documents.library import Library, Upload
from bot.knowledge.documents.sandbox import Sandbox
from feedback.database import Database
from tests.chronicle import Chronicle
from tests.conftest import SQLITE

pytestmark = SQLITE
OPERATOR = Actor("terminal", "ada", "operator")


@pytest.fixture
async def library(database: Database) -> AsyncIterator[Library]:
    async with Sandbox() as sandbox, Fetcher() as fetcher:
        yield Library(database, sandbox, fetcher, None)


async def test_moderators_give_their_community_what_they_send_but_no_files_of_the_machine(
    library: Library, chronicle: Chronicle, tmp_path: Path
) -> None:
    here = chronicle.community_id
    moderator = Actor("discord", "mo", "moderator", here)
    outcome = await documents.add(library, moderator, here, Upload("rules.txt", b"Be kind."))
    assert outcome.added == 1
    (tmp_path / "secret.txt").write_text("Not theirs.")
    with pytest.raises(NotAllowed):
        await documents.add(library, moderator, here, tmp_path / "secret.txt")
    with pytest.raises(NotAllowed):
        await documents.add(library, Actor("discord", "al", "member", here), here, Upload("a.txt", b"Hello."))


async def test_moderators_see_names_where_the_operator_sees_paths(
    library: Library, chronicle: Chronicle, tmp_path: Path
) -> None:
    here = chronicle.community_id
    moderator = Actor("discord", "mo", "moderator", here)
    (tmp_path / "rules.txt").write_text("Be kind.")
    await documents.add(library, OPERATOR, here, tmp_path)
    (seen,) = await documents.list_documents(library, moderator, here)
    shown = await documents.show(library, moderator, here, str(seen.id))
    assert (seen.address, [one.address for one in shown.found]) == (tmp_path.name, ["rules.txt"])
    (known,) = await documents.list_documents(library, OPERATOR, here)
    assert known.address == str(tmp_path)


async def test_a_moderator_of_another_community_sees_and_removes_nothing(
    library: Library, chronicle: Chronicle
) -> None:
    here = chronicle.community_id
    stranger = Actor("discord", "mo", "moderator", here + 1)
    await documents.add(library, OPERATOR, here, Upload("rules.txt", b"Be kind."))
    with pytest.raises(NotAllowed):
        await documents.list_documents(library, stranger, here)
    with pytest.raises(NotAllowed):
        await documents.remove(library, stranger, here, "rules.txt")
    with pytest.raises(NotAllowed):
        await documents.refresh(library, stranger, None)
