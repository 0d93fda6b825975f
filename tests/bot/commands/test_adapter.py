"""Which adapter serves whom, and nothing damaged or foreign ever begins to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bot.access.actor import Actor
from bot.commands import adapter as commands
from bot.commands.adapter import EVERYWHERE, Switched
from bot.core import ModelIdentity
from bot.errors import AdapterRefused, NotAllowed
from feedback import journal
from feedback.database import Database
from feedback.errors import Conflict, NotFound
from feedback.tables import Adapter, Dataset
from training.adapters import registry
from training.errors import AdapterError

Add = Callable[..., Awaitable[Adapter]]
ADA = Actor("terminal", "ada", "operator")
WEIGHTS = "adapter_model.safetensors"


@pytest.fixture
async def add(database: Database, tmp_path: Path) -> Add:
    """Adds the next version of the adapter `community`, promoted unless told otherwise."""
    numbers = iter(range(100))

    async def added(
        state: str = "promoted", base_model: str = "tiny", base_revision: str = "r1", **more: Any
    ) -> Adapter:
        staged = tmp_path / f"staged-{next(numbers)}"
        staged.mkdir()
        (staged / "adapter_config.json").write_text(json.dumps({"r": 4}))
        (staged / WEIGHTS).write_bytes(b"weights")
        async with database.session() as session:
            adapter = await registry.add(
                session,
                tmp_path,
                staged,
                name="community",
                base_model=base_model,
                base_revision=base_revision,
                **more,
            )
            adapter.state = state
            session.add(adapter)
        return adapter

    return added


@pytest.fixture
async def guild(database: Database) -> None:
    """Two communities that have been seen."""
    async with database.session() as session:
        await journal.community(session, "discord", "guild", name="A guild")
        await journal.community(session, "telegram", "chat")


async def switch(database: Database, data: Path, label: str, *, revision: str = "", **more: Any) -> Switched:
    asked = {"model": ModelIdentity("tiny", revision), "by": ADA} | more
    return await commands.switch(database, data, label, **asked)


async def roll_back(database: Database, data: Path, *, revision: str = "", **more: Any) -> Switched:
    return await commands.rollback(database, data, model=ModelIdentity("tiny", revision), by=ADA, **more)


async def serving(database: Database) -> dict[str, tuple[str, ...]]:
    return {summary.label: summary.serves for summary in await commands.list_adapters(database)}


def damage(data: Path, adapter: Adapter) -> None:
    (registry.folder(data, adapter) / WEIGHTS).write_bytes(b"torn")


# switching


async def test_switching_says_what_served_before_and_what_serves_now(
    database: Database, tmp_path: Path, add: Add
) -> None:
    await add()
    await add()
    assert await switch(database, tmp_path, "community@1") == Switched(
        "base", "community@1", EVERYWHERE, changed=True
    )
    assert await switch(database, tmp_path, "community") == Switched(
        "community@1", "community@2", EVERYWHERE, changed=True
    )
    assert not (await switch(database, tmp_path, "community@2")).changed
    assert (await switch(database, tmp_path, "base")).now == "base"


async def test_one_community_is_switched_and_the_others_stay(
    database: Database, tmp_path: Path, add: Add, guild: None
) -> None:
    await add()
    switched = await switch(database, tmp_path, "community@1", community="A guild")
    assert switched == Switched("base", "community@1", "A guild", changed=True)
    assert await serving(database) == {"base": (EVERYWHERE,), "community@1": ("A guild",)}
    with pytest.raises(NotFound, match=r"There is no community nobody\. There are: 1 \(discord:guild\)"):
        await switch(database, tmp_path, "base", community="nobody")


async def test_a_community_may_keep_the_base_model_while_everyone_gets_an_adapter(
    database: Database, tmp_path: Path, add: Add, guild: None
) -> None:
    await add()
    await switch(database, tmp_path, "base", community="telegram:chat")
    await switch(database, tmp_path, "community@1")
    assert await serving(database) == {"base": ("2 (telegram:chat)",), "community@1": (EVERYWHERE,)}


@pytest.mark.parametrize("label", ["community@9", "nobody", "community@", "@1", "", "BASE"])
async def test_an_unknown_adapter_is_refused_naming_those_there_are(
    database: Database, tmp_path: Path, add: Add, label: str
) -> None:
    await add()
    with pytest.raises(NotFound, match=r"There are base, community@1\."):
        await switch(database, tmp_path, label)


async def test_an_adapter_without_a_verdict_may_not_serve_and_a_rejected_one_may(
    database: Database, tmp_path: Path, add: Add
) -> None:
    await add("candidate")
    await add("rejected")
    with pytest.raises(Conflict, match="community@1 has had no verdict yet"):
        await switch(database, tmp_path, "community@1")
    assert (await switch(database, tmp_path, "community@2")).now == "community@2"


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda place: (place / WEIGHTS).write_bytes(b"torn"), f"{WEIGHTS} is corrupt"),
        (lambda place: (place / WEIGHTS).unlink(), f"{WEIGHTS} is missing"),
        (lambda place: (place / "manifest.json").write_text("{}"), "manifest.json is not the one"),
        (lambda place: (place / "manifest.json").unlink(), "manifest.json is missing"),
        (lambda place: (place / "evil.PKL").write_bytes(b""), "evil.PKL is a pickle"),
        (shutil.rmtree, "folder is missing"),
    ],
    ids=["torn", "weights gone", "manifest replaced", "manifest gone", "pickle", "folder gone"],
)
async def test_a_damaged_adapter_never_begins_to_serve_and_the_file_is_named(
    database: Database, tmp_path: Path, add: Add, harm: Callable[[Path], Any], told: str
) -> None:
    await add()
    broken = await add()
    await switch(database, tmp_path, "community@1")
    harm(registry.folder(tmp_path, broken))
    with pytest.raises(AdapterError, match=told):
        await switch(database, tmp_path, "community@2")
    assert (await serving(database))["community@1"] == (EVERYWHERE,)
    details = await commands.show(database, tmp_path, "community@2")
    assert details is not None and told in details.fault


async def test_an_adapter_of_another_base_model_is_refused_naming_both(
    database: Database, tmp_path: Path, add: Add
) -> None:
    await add(base_model="larger")
    with pytest.raises(AdapterRefused, match="trained on larger, and tiny is the model now"):
        await switch(database, tmp_path, "community@1")
    assert (await serving(database))["base"] == (EVERYWHERE,)


async def test_an_adapter_of_another_revision_of_the_base_model_is_refused_naming_both(
    database: Database, tmp_path: Path, add: Add
) -> None:
    then, today = "a" * 64, "b" * 64
    await add(base_revision=then)
    await add(base_revision=today)
    with pytest.raises(AdapterRefused, match=r"revision aaaaaaaaaaaa of tiny, and revision bbbbbbbbbbbb is"):
        await switch(database, tmp_path, "community@1", revision=today)
    assert (await switch(database, tmp_path, "community@2", revision=today)).now == "community@2"
    assert (await switch(database, tmp_path, "community@1", revision="main")).now == "community@1"
    await switch(database, tmp_path, "base")
    with pytest.raises(AdapterRefused, match="revision aaaaaaaaaaaa"):
        await roll_back(database, tmp_path, revision=today)


# rolling back


async def test_rolling_back_goes_step_by_step_to_the_base_and_then_says_there_is_nothing(
    database: Database, tmp_path: Path, add: Add
) -> None:
    for version in (1, 2):
        await add()
        await switch(database, tmp_path, f"community@{version}")
    assert await roll_back(database, tmp_path) == Switched(
        "community@2", "community@1", EVERYWHERE, changed=True
    )
    assert (await roll_back(database, tmp_path)).now == "base"
    with pytest.raises(Conflict, match="Nothing served everyone before"):
        await roll_back(database, tmp_path)


async def test_a_community_rolled_back_before_its_own_first_adapter_has_what_everyone_has(
    database: Database, tmp_path: Path, add: Add, guild: None
) -> None:
    await add()
    await add()
    await switch(database, tmp_path, "community@1")
    await switch(database, tmp_path, "community@2", community="A guild")
    rolled = await roll_back(database, tmp_path, community="A guild")
    assert rolled == Switched("community@2", "community@1", "A guild", changed=True)
    assert await serving(database) == {"base": (), "community@2": (), "community@1": (EVERYWHERE,)}


async def test_rolling_back_to_a_damaged_or_foreign_adapter_is_refused_and_changes_nothing(
    database: Database, tmp_path: Path, add: Add
) -> None:
    damaged = await add()
    await add()
    for version in (1, 2):
        await switch(database, tmp_path, f"community@{version}")
    with pytest.raises(AdapterRefused, match="trained on tiny, and other is the model now"):
        await commands.rollback(database, tmp_path, model=ModelIdentity("other", ""), by=ADA)
    damage(tmp_path, damaged)
    with pytest.raises(AdapterError, match=f"{WEIGHTS} is corrupt"):
        await roll_back(database, tmp_path)
    assert (await serving(database))["community@2"] == (EVERYWHERE,)


# looking


async def test_the_list_has_the_base_first_then_the_newest_with_state_and_metrics(
    database: Database, add: Add
) -> None:
    await add(metrics={"loss": 1.5})
    await add("candidate")
    listed = await commands.list_adapters(database)
    assert [(summary.label, summary.state) for summary in listed] == [
        ("base", ""),
        ("community@2", "candidate"),
        ("community@1", "promoted"),
    ]
    assert listed[2].metrics == {"loss": 1.5} and listed[2].base_model == "tiny"


async def test_showing_an_adapter_tells_its_lineage_and_whom_it_has_served(
    database: Database, tmp_path: Path, add: Add, guild: None
) -> None:
    async with database.session() as session:
        dataset = Dataset(name="community", version=7, folder="datasets/community/7", content_hash="h")
        session.add(dataset)
    added = await add(dataset_id=dataset.id, metrics={"loss": 1.5})
    await switch(database, tmp_path, "community@1", reason="looks good")
    await switch(database, tmp_path, "base")
    await switch(database, tmp_path, "community@1", community="A guild")
    details = await commands.show(database, tmp_path, "community")
    assert details is not None
    assert (details.label, details.state, details.fault) == ("community@1", "promoted", "")
    assert (details.dataset, details.run, details.metrics) == ("community@7", None, {"loss": 1.5})
    assert (details.base_model, details.base_revision) == ("tiny", "r1")
    assert (details.folder, details.content_hash) == ("adapters/community/1", added.content_hash)
    newest, first = details.deployments
    assert (newest.whom, newest.until, newest.decided_by) == ("A guild", None, "terminal:ada")
    assert (first.whom, first.reason) == (EVERYWHERE, "looks good")
    assert first.until is not None and first.until >= first.since


async def test_showing_the_base_model_or_an_unknown_adapter(database: Database, tmp_path: Path) -> None:
    assert await commands.show(database, tmp_path, "base") is None
    with pytest.raises(NotFound, match="There are base and no others yet"):
        await commands.show(database, tmp_path, "community")


async def test_an_administrator_of_one_community_switches_there_and_nowhere_else(
    database: Database, tmp_path: Path, add: Add
) -> None:
    await add()
    async with database.session() as session:
        home = await journal.community(session, "discord", "guild", name="A guild")
        await journal.community(session, "discord", "other", name="Another guild")
    administrator = Actor("discord", "ada", "administrator", home.id)
    for community in (None, "discord:other"):
        with pytest.raises(NotAllowed, match="Only administrators"):
            await switch(database, tmp_path, "community@1", by=administrator, community=community)
    done = await switch(database, tmp_path, "community@1", by=administrator, community="discord:guild")
    assert (done.now, done.whom) == ("community@1", "A guild")
    with pytest.raises(NotAllowed, match="Only operators"):
        await commands.prune(database, tmp_path, keep=1, by=administrator)
