"""A community is found by whatever people call it, and never mistaken for another."""

from __future__ import annotations

import pytest

from bot.commands.communities import find_community
from feedback import journal
from feedback.database import Database
from feedback.errors import NotFound, UsageError


@pytest.fixture
async def ids(database: Database) -> dict[str, int]:
    """Four communities; two share a name, one's platform id looks like another's id."""
    given = {
        "guild": ("discord", "1234567890123456789", "Learners"),
        "chat": ("telegram", "-100200300", "Learners"),
        "web": ("web", "chat", "Łódź uczy się"),
    }
    found = {}
    async with database.session() as session:
        for key, (platform, external_id, name) in given.items():
            found[key] = (await journal.community(session, platform, external_id, name=name)).id or 0
        sly = await journal.community(session, "api", str(found["guild"]), name="")
        found["sly"] = sly.id or 0
    return found


@pytest.mark.parametrize(
    ("named", "key"),
    [
        ("discord:1234567890123456789", "guild"),
        ("1234567890123456789", "guild"),
        ("telegram:-100200300", "chat"),
        ("-100200300", "chat"),
        ("Łódź uczy się", "web"),
        ("web:chat", "web"),
    ],
)
async def test_a_community_is_named_by_platform_id_or_name(
    database: Database, ids: dict[str, int], named: str, key: str
) -> None:
    async with database.session(read_only=True) as session:
        assert (await find_community(session, named)).id == ids[key]


async def test_an_id_of_ours_comes_before_a_platforms_id_that_looks_like_it(
    database: Database, ids: dict[str, int]
) -> None:
    async with database.session(read_only=True) as session:
        assert (await find_community(session, str(ids["guild"]))).id == ids["guild"]
        assert (await find_community(session, f"api:{ids['guild']}")).id == ids["sly"]


async def test_a_name_that_two_have_is_refused_naming_both(database: Database, ids: dict[str, int]) -> None:
    async with database.session(read_only=True) as session:
        with pytest.raises(UsageError, match="2 communities are called Learners") as refused:
            await find_community(session, "Learners")
    assert f"{ids['guild']} (discord:1234567890123456789), {ids['chat']} (telegram:-100200300)" in str(
        refused.value
    )


@pytest.mark.parametrize(
    "named", ["nobody", "", "0", "999999999", "99999999999999999999", "²", "discord:", "%"]
)
async def test_an_unknown_one_is_refused_naming_those_there_are(
    database: Database, ids: dict[str, int], named: str
) -> None:
    async with database.session(read_only=True) as session:
        with pytest.raises(NotFound, match=r"There are: \d+ \(discord:1234567890123456789\)"):
            await find_community(session, named)


async def test_with_none_at_all_the_refusal_says_so(database: Database) -> None:
    async with database.session(read_only=True) as session:
        with pytest.raises(NotFound, match="None has been seen yet"):
            await find_community(session, "guild")
