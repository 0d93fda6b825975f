"""Adapters in the registry: numbered, verified, never a pickle; who serves whom, and the way back."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from feedback import journal
from feedback.database import Database
from feedback.errors import Conflict, NotFound
from feedback.tables import Adapter, Audit, Dataset, Deployment, Run
from feedback.words import AdapterState, RunState
from training.adapters import deployments, pruning, registry
from training.errors import AdapterError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def staged(data: Path) -> Callable[[], Path]:
    """Makes one more folder that holds an adapter's files, ready to be added."""
    numbers = iter(range(100))

    def make() -> Path:
        folder = data / "runs" / str(next(numbers))
        folder.mkdir(parents=True)
        (folder / "adapter_config.json").write_text('{"r": 16}')
        (folder / "adapter_model.safetensors").write_bytes(b"weights of " + folder.name.encode())
        return folder

    return make


class Shelf:
    """Adds adapters and changes deployments, each step in a session of its own, as the product does."""

    def __init__(self, database: Database, data: Path, staged: Callable[[], Path]) -> None:
        self.database, self.data, self.staged = database, data, staged
        self.datasets = 0

    async def add(self, name: str = "community", state: AdapterState = "promoted", **more: Any) -> Adapter:
        async with self.database.session() as session:
            adapter = await registry.add(
                session,
                self.data,
                self.staged(),
                name=name,
                base_model="tiny",
                base_revision="abc",
                **more,
            )
            adapter.state = state
            session.add(adapter)
        return adapter

    async def run(self, state: RunState) -> int:
        async with self.database.session() as session:
            run = Run(adapter_name="community", started_by="ada", state=state)
            session.add(run)
        return run.id or 0

    async def dataset(self) -> Dataset:
        """The next dataset, with a folder."""
        self.datasets += 1
        folder = f"datasets/community/{self.datasets}"
        (self.data / folder).mkdir(parents=True)
        row = Dataset(name="community", version=self.datasets, folder=folder, content_hash="")
        async with self.database.session() as session:
            session.add(row)
        return row

    async def prune(self, keep: int) -> list[str]:
        gone = await pruning.prune(self.database, self.data, keep=keep, by="mo")
        return [registry.label(adapter) for adapter in gone]

    async def kept(self) -> list[str]:
        async with self.database.session(read_only=True) as session:
            return [registry.label(adapter) for adapter in await registry.list_adapters(session)]

    async def pin(self, adapter: Adapter, *, pinned: bool = True) -> bool:
        async with self.database.session() as session:
            return await registry.pin(session, adapter, by="mo", pinned=pinned)

    async def community(self, name: str = "guild") -> int:
        async with self.database.session() as session:
            return (await journal.community(session, "discord", name)).id or 0

    async def switch(self, adapter: Adapter | None, community_id: int | None = None) -> Deployment:
        async with self.database.session() as session:
            return await deployments.switch(session, adapter, by="mo", community_id=community_id)

    async def rollback(self, community_id: int | None = None) -> Deployment:
        async with self.database.session() as session:
            return await deployments.rollback(session, by="mo", community_id=community_id)

    async def serving(self, community_id: int | None = None) -> str:
        async with self.database.session(read_only=True) as session:
            adapter = await deployments.serving(session, community_id)
        return registry.BASE if adapter is None else registry.label(adapter)

    async def audit(self, action: str) -> list[Audit]:
        async with self.database.session(read_only=True) as session:
            found = await session.exec(select(Audit).where(Audit.action == action).order_by(col(Audit.id)))
            return list(found.all())


@pytest.fixture
def shelf(database: Database, data: Path, staged: Callable[[], Path]) -> Shelf:
    return Shelf(database, data, staged)


# --- adding ---


async def test_versions_of_a_name_count_up(shelf: Shelf) -> None:
    added = [await shelf.add(name) for name in ("support", "support", "code", "support")]
    assert [registry.label(one) for one in added] == ["support@1", "support@2", "code@1", "support@3"]
    async with shelf.database.session(read_only=True) as session:
        listed = [registry.label(one) for one in await registry.list_adapters(session)]
    assert listed == ["code@1", "support@3", "support@2", "support@1"]


async def test_an_added_adapter_is_a_candidate_with_its_origin_and_its_files(
    shelf: Shelf, staged: Callable[[], Path]
) -> None:
    folder = staged()
    async with shelf.database.session() as session:
        adapter = await registry.add(
            session,
            shelf.data,
            folder,
            name="support",
            base_model="tiny",
            base_revision="abc",
            metrics={"loss": 1.5},
        )
    assert (adapter.state, adapter.base_model, adapter.base_revision) == ("candidate", "tiny", "abc")
    assert adapter.metrics == {"loss": 1.5}
    assert not folder.exists()
    place = registry.verify(shelf.data, adapter)
    assert place == shelf.data / "adapters" / "support" / "1"
    assert (place / "adapter_model.safetensors").read_bytes() == b"weights of 0"
    (entry,) = await shelf.audit("adapter.add")
    assert entry.subject == "support@1" and entry.detail["content_hash"] == adapter.content_hash


async def test_two_that_are_added_at_once_get_two_versions(shelf: Shelf, database_url: str) -> None:
    second = Shelf(Database(database_url), shelf.data, shelf.staged)
    try:
        both = await asyncio.gather(shelf.add(), second.add())
    finally:
        await second.database.close()
    assert sorted(adapter.version for adapter in both) == [1, 2]
    for adapter in both:
        registry.verify(shelf.data, adapter)


async def test_a_place_that_was_taken_meanwhile_is_passed_over(shelf: Shelf) -> None:
    taken = shelf.data / "adapters" / "community" / "1"
    taken.mkdir(parents=True)
    (taken / "weights").write_text("of a process that has not committed yet, or died before it did")
    assert (await shelf.add()).version == 2
    assert (taken / "weights").read_text().startswith("of a process")


async def test_a_number_is_not_given_out_again_after_a_rollback_of_the_session(shelf: Shelf) -> None:
    with pytest.raises(ValueError, match="changed my mind"):
        async with _failing(shelf) as session:
            await registry.add(
                session, shelf.data, shelf.staged(), name="community", base_model="t", base_revision="r"
            )
    async with shelf.database.session(read_only=True) as session:
        assert await registry.list_adapters(session) == []
    assert (await shelf.add()).version == 2


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda f: (f / "adapter_model.bin").write_bytes(b"x"), "the file adapter_model.bin is a pickle"),
        (lambda f: (f / "Training_Args.PT").write_bytes(b"x"), "the file Training_Args.PT is a pickle"),
        (
            lambda f: ((f / "deep").mkdir(), (f / "deep" / "optimizer.pkl").write_bytes(b"x")),
            "the file deep/optimizer.pkl is a pickle",
        ),
        (lambda f: (f / "notes.txt").symlink_to("/etc/hostname"), "the file notes.txt is a link"),
        (lambda f: (f / "folder").symlink_to("/etc"), "the file folder is a link"),
        (lambda f: (f / "adapter_config.json").unlink(), "the file adapter_config.json is missing"),
        (lambda f: (f / "adapter_model.safetensors").unlink(), "adapter_model.safetensors is missing"),
        (lambda f: f.rename(f.with_name("elsewhere")), "the file adapter_config.json is missing"),
        (
            lambda f: (
                f.with_name("link").symlink_to(f.rename(f.with_name("target")))
                or f.with_name("link").rename(f)
            ),
            "it is a link",
        ),
    ],
)
async def test_what_is_no_safe_adapter_is_not_added(
    spoil: Callable[[Path], object], told: str, shelf: Shelf
) -> None:
    folder = shelf.staged()
    spoil(folder)
    with pytest.raises(AdapterError, match=rf"cannot be added as an adapter: .*{told}.*pickles are never"):
        async with shelf.database.session() as session:
            await registry.add(
                session, shelf.data, folder, name="community", base_model="tiny", base_revision="abc"
            )
    assert not (shelf.data / "adapters").exists()
    async with shelf.database.session(read_only=True) as session:
        assert await registry.list_adapters(session) == []


async def test_a_shelf_that_cannot_be_made_is_told_so_and_the_adapter_is_not_lost(shelf: Shelf) -> None:
    (shelf.data / "adapters").write_text("a file where the folder should be")
    folder = shelf.staged()
    with pytest.raises(AdapterError, match=r"Writing the adapter to .*adapters.* failed"):
        async with shelf.database.session() as session:
            await registry.add(
                session, shelf.data, folder, name="community", base_model="tiny", base_revision="abc"
            )
    assert (folder / "adapter_model.safetensors").is_file()


# --- verifying ---


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (
            lambda f: (f / "adapter_model.safetensors").write_bytes(b"weights of X"),
            "the file adapter_model.safetensors is corrupt",
        ),
        (lambda f: (f / "adapter_config.json").unlink(), "the file adapter_config.json is missing"),
        (
            lambda f: (f / "manifest.json").write_text("{}"),
            "manifest.json is not the one that was registered",
        ),
        (lambda f: (f / "adapter_model.bin").write_bytes(b"x"), "the file adapter_model.bin is a pickle"),
        (
            lambda f: (
                (f / "adapter_config.json").rename(f.with_name("moved.json")),
                (f / "adapter_config.json").symlink_to(f.with_name("moved.json")),
            ),
            "the file adapter_config.json is a link",
        ),
        (lambda f: f.rename(f.with_name("elsewhere")), "the folder is missing"),
    ],
)
async def test_a_damaged_adapter_is_refused_with_the_name_of_the_file(
    harm: Callable[[Path], object], told: str, shelf: Shelf
) -> None:
    adapter = await shelf.add()
    harm(registry.folder(shelf.data, adapter))
    with pytest.raises(AdapterError, match=rf"community@1 in .* cannot be used: {told}.*Restore the folder"):
        registry.verify(shelf.data, adapter)


async def test_sweeping_removes_nothing_that_is_registered(shelf: Shelf) -> None:
    adapter = await shelf.add()
    (shelf.data / "adapters" / f".2.{os.getpid()}-ff.part").mkdir()
    assert await pruning.sweep(shelf.database, shelf.data) == []
    registry.verify(shelf.data, adapter)


async def test_what_a_run_that_died_placed_and_never_listed_is_swept_and_nothing_else(shelf: Shelf) -> None:
    ended, under_way = await shelf.run("failed"), await shelf.run("running")
    for run_id in (ended, under_way, None):
        with pytest.raises(ValueError, match="changed my mind"):
            async with _failing(shelf) as session:
                await registry.add(
                    session,
                    shelf.data,
                    shelf.staged(),
                    name="community",
                    base_model="t",
                    base_revision="r",
                    run_id=run_id,
                )
    places = shelf.data / "adapters" / "community"
    assert await pruning.sweep(shelf.database, shelf.data) == [places / "1"]
    assert sorted(place.name for place in places.iterdir()) == ["2", "3"]


# --- finding ---


async def test_an_adapter_is_found_by_its_label_or_the_newest_by_its_name(shelf: Shelf) -> None:
    await shelf.add()
    await shelf.add()
    async with shelf.database.session(read_only=True) as session:
        found = [await registry.find(session, wanted) for wanted in ("community@1", "community", "base")]
    assert [one and one.version for one in found] == [1, 2, None]


@pytest.mark.parametrize(
    "wanted",
    ["community@3", "comunity", "community@", "community@0", "community@٣", "community@9999999999999"],
)
async def test_an_unknown_label_is_told_with_what_there_is(wanted: str, shelf: Shelf) -> None:
    async with shelf.database.session(read_only=True) as session:
        with pytest.raises(NotFound, match=r"There are base and no others yet\."):
            await registry.find(session, wanted)
    await shelf.add()
    async with shelf.database.session(read_only=True) as session:
        with pytest.raises(NotFound) as caught:
            await registry.find(session, wanted)
    assert str(caught.value) == f"There is no adapter {wanted}. There are base, community@1."


# --- serving ---


async def test_the_base_model_serves_until_an_adapter_does(shelf: Shelf) -> None:
    assert await shelf.serving() == "base"
    await shelf.switch(await shelf.add())
    assert await shelf.serving() == "community@1"
    await shelf.switch(None)
    assert await shelf.serving() == "base"


async def test_a_candidate_without_a_verdict_may_not_serve(shelf: Shelf) -> None:
    candidate = await shelf.add(state="candidate")
    with pytest.raises(Conflict, match=r"community@1 has had no verdict yet, so it may not serve"):
        await shelf.switch(candidate)
    assert await shelf.serving() == "base"


async def test_overruling_the_gate_is_possible_and_audited(shelf: Shelf) -> None:
    await shelf.switch(await shelf.add(state="promoted"))
    await shelf.switch(await shelf.add(state="rejected"))
    assert await shelf.serving() == "community@2"
    assert [
        (entry.actor, entry.subject, entry.detail["overruled_the_gate"])
        for entry in await shelf.audit("adapter.switch")
    ] == [("mo", "community@1", False), ("mo", "community@2", True)]


async def test_switching_to_what_serves_already_changes_nothing(shelf: Shelf) -> None:
    adapter = await shelf.add()
    first = await shelf.switch(adapter)
    assert (await shelf.switch(adapter)).id == first.id
    assert len(await shelf.audit("adapter.switch")) == 1


async def test_a_community_with_its_own_deployment_does_not_follow_everyone(shelf: Shelf) -> None:
    one, other = await shelf.community("one"), await shelf.community("other")
    first, second = await shelf.add(), await shelf.add()
    await shelf.switch(first)
    assert await shelf.serving(one) == "community@1"
    await shelf.switch(second, one)
    await shelf.switch(None)
    assert [await shelf.serving(who) for who in (one, other, None)] == ["community@2", "base", "base"]


async def test_a_community_may_have_the_base_model_while_everyone_has_an_adapter(shelf: Shelf) -> None:
    guild = await shelf.community()
    await shelf.switch(await shelf.add())
    await shelf.switch(None, guild)
    assert await shelf.serving(guild) == "base"


async def test_switching_at_once_leaves_one_deployment_open(shelf: Shelf, database_url: str) -> None:
    adapters = [await shelf.add() for _ in range(2)]
    second = Shelf(Database(database_url), shelf.data, shelf.staged)
    try:
        await asyncio.gather(shelf.switch(adapters[0]), second.switch(adapters[1]))
    finally:
        await second.database.close()
    async with shelf.database.session(read_only=True) as session:
        history = await deployments.history(session)
    assert [deployment.until is None for deployment in history] == [True, False]


# --- the way back ---


async def test_rollback_repeated_goes_one_step_further_back_each_time(shelf: Shelf) -> None:
    for _ in range(3):
        await shelf.switch(await shelf.add())
    served = []
    for _ in range(3):
        await shelf.rollback()
        served.append(await shelf.serving())
    assert served == ["community@2", "community@1", "base"]
    with pytest.raises(Conflict, match=r"Nothing served everyone before .* nothing to roll back to"):
        await shelf.rollback()
    assert await shelf.serving() == "base"


async def test_a_switch_after_a_rollback_is_undone_to_what_the_rollback_brought(shelf: Shelf) -> None:
    first, second, third = [await shelf.add() for _ in range(3)]
    await shelf.switch(first)
    await shelf.switch(second)
    await shelf.rollback()
    await shelf.switch(third)
    await shelf.rollback()
    assert await shelf.serving() == "community@1"
    await shelf.rollback()
    assert await shelf.serving() == "base"


async def test_the_history_of_deployments_is_ended_and_never_rewritten(shelf: Shelf) -> None:
    first, second = await shelf.add(), await shelf.add()
    await shelf.switch(first)
    await shelf.switch(second)
    await shelf.rollback()
    async with shelf.database.session(read_only=True) as session:
        history = await deployments.history(session)
    assert [deployment.adapter_id for deployment in history] == [first.id, second.id, first.id]
    assert history[0].until is None
    assert [later.since for later in history[:-1]] == [earlier.until for earlier in history[1:]]
    (entry,) = await shelf.audit("adapter.rollback")
    assert entry.detail["undone"] == history[1].id and entry.actor == "mo"


@pytest.mark.parametrize("switches", [1, 2, 3])
async def test_rolling_a_community_back_to_its_beginning_gives_it_what_everyone_has(
    switches: int, shelf: Shelf
) -> None:
    guild = await shelf.community()
    everyones = await shelf.add("everyone")
    await shelf.switch(everyones)
    for _ in range(switches):
        await shelf.switch(await shelf.add("theirs"), guild)
    served = []
    for _ in range(switches):
        await shelf.rollback(guild)
        served.append(await shelf.serving(guild))
    assert served == [f"theirs@{version}" for version in range(switches - 1, 0, -1)] + ["everyone@1"]
    with pytest.raises(Conflict, match="Nothing served this community before"):
        await shelf.rollback(guild)
    await shelf.switch(None)
    assert await shelf.serving(guild) == "base"  # it follows everyone again


async def test_a_community_that_was_given_back_may_choose_anew_and_go_back_again(shelf: Shelf) -> None:
    guild = await shelf.community()
    adapters = [await shelf.add() for _ in range(3)]
    for adapter in adapters[:2]:
        await shelf.switch(adapter, guild)
    await shelf.rollback(guild)
    await shelf.rollback(guild)
    await shelf.switch(adapters[2], guild)
    assert await shelf.serving(guild) == "community@3"
    await shelf.rollback(guild)
    assert await shelf.serving(guild) == "base"


async def test_rolling_one_community_back_leaves_the_others_alone(shelf: Shelf) -> None:
    one, other = await shelf.community("one"), await shelf.community("other")
    first, second = await shelf.add(), await shelf.add()
    for who in (one, other, None):
        await shelf.switch(first, who)
        await shelf.switch(second, who)
    await shelf.rollback(one)
    assert [await shelf.serving(who) for who in (one, other, None)] == [
        "community@1",
        "community@2",
        "community@2",
    ]


async def test_a_community_without_a_deployment_of_its_own_has_nothing_to_roll_back(shelf: Shelf) -> None:
    guild = await shelf.community()
    await shelf.switch(await shelf.add())
    with pytest.raises(Conflict, match="Nothing served this community before"):
        await shelf.rollback(guild)
    assert await shelf.serving(guild) == "community@1"


# --- pruning ---


async def test_pruning_deletes_the_files_of_all_but_the_newest_of_each_name(shelf: Shelf) -> None:
    for name in ("support", "docs", "support", "support"):
        await shelf.add(name)
    assert await shelf.prune(2) == ["support@1"]
    assert await shelf.kept() == ["docs@1", "support@3", "support@2"]
    assert sorted(path.name for path in (shelf.data / "adapters" / "support").iterdir()) == ["2", "3"]
    assert await shelf.prune(2) == []


async def test_the_files_of_a_dataset_go_with_the_last_adapter_that_learnt_it(shelf: Shelf) -> None:
    first, second, third, never_learnt = [await shelf.dataset() for _ in range(4)]
    for learnt in (first, second, first, second, third):
        await shelf.add(dataset_id=learnt.id)
    assert await shelf.prune(2) == ["community@3", "community@2", "community@1"]
    left = sorted(path.name for path in (shelf.data / "datasets" / "community").iterdir())
    assert left == ["2", "3", "4"]
    assert await shelf.prune(1) == ["community@4"]
    left = sorted(path.name for path in (shelf.data / "datasets" / "community").iterdir())
    assert left == ["3", "4"] and never_learnt.version == 4


async def test_what_serves_anybody_and_what_a_rollback_would_bring_back_is_kept(shelf: Shelf) -> None:
    guild = await shelf.community()
    adapters = [await shelf.add() for _ in range(7)]
    for index in (0, 1, 2):
        await shelf.switch(adapters[index])
    for index in (3, 4):
        await shelf.switch(adapters[index], guild)
    assert await shelf.prune(1) == ["community@6", "community@1"]
    await shelf.rollback()
    await shelf.rollback(guild)
    assert [await shelf.serving(), await shelf.serving(guild)] == ["community@2", "community@4"]


async def test_a_rollback_further_than_what_is_kept_is_refused_and_changes_nothing(shelf: Shelf) -> None:
    for adapter in [await shelf.add() for _ in range(3)]:
        await shelf.switch(adapter)
    await shelf.prune(1)
    await shelf.rollback()
    with pytest.raises(Conflict, match=r"community@1 was retired .* cannot serve.*adapter list"):
        await shelf.rollback()
    assert await shelf.serving() == "community@2"


async def test_pinned_adapters_and_those_without_a_verdict_are_kept(shelf: Shelf) -> None:
    pinned = await shelf.add()
    await shelf.add(state="candidate")
    for _ in range(2):
        await shelf.add()
    assert await shelf.pin(pinned) and not await shelf.pin(pinned)
    assert await shelf.prune(1) == ["community@3"]
    assert await shelf.pin(pinned, pinned=False)
    assert await shelf.prune(1) == ["community@1"]
    assert [(one.action, one.actor, one.subject) for one in await shelf.audit("adapter.pin")] == [
        ("adapter.pin", "mo", "community@1")
    ]
    assert [one.subject for one in await shelf.audit("adapter.retire")] == ["community@3", "community@1"]


async def test_a_retired_adapter_keeps_its_row_and_may_neither_serve_nor_be_pinned(shelf: Shelf) -> None:
    read_before = await shelf.add(metrics={"loss": 1.5})
    await shelf.add()
    await shelf.prune(1)
    with pytest.raises(Conflict, match="community@1 was retired and its files are gone"):
        await shelf.switch(read_before)
    with pytest.raises(Conflict, match="community@1 was retired"):
        await shelf.pin(read_before)
    async with shelf.database.session(read_only=True) as session:
        found = await registry.find(session, "community@1")
        newest = await registry.find(session, "community")
    assert found is not None and (found.state, found.metrics) == ("retired", {"loss": 1.5})
    with pytest.raises(AdapterError, match="was retired, and its files are gone"):
        registry.verify(shelf.data, found)
    assert newest is not None and newest.version == 2
    assert await shelf.serving() == "base"


async def test_the_number_of_a_retired_version_is_not_given_out_again(shelf: Shelf) -> None:
    for _ in range(2):
        await shelf.add()
    await shelf.prune(1)
    assert (await shelf.add()).version == 3


async def test_files_that_a_prune_left_behind_by_dying_go_with_the_next(shelf: Shelf) -> None:
    first = await shelf.add()
    await shelf.add()
    place = registry.folder(shelf.data, first)
    place.rename(place.with_name("aside"))
    await shelf.prune(1)
    place.with_name("aside").rename(place)
    assert await shelf.prune(1) == []
    assert not place.exists()


async def test_pruning_and_switching_at_once_never_leaves_a_retired_adapter_in_service(
    shelf: Shelf, database_url: str
) -> None:
    adapters = [await shelf.add() for _ in range(4)]
    others = [Shelf(Database(database_url), shelf.data, shelf.staged) for _ in range(3)]
    work = [
        others[0].prune(1),
        others[1].switch(adapters[0]),
        others[2].prune(1),
        shelf.switch(adapters[1]),
        shelf.prune(1),
    ]
    try:
        ended = await asyncio.gather(*work, return_exceptions=True)
    finally:
        for other in others:
            await other.database.close()
    assert all(not isinstance(one, BaseException) or isinstance(one, Conflict) for one in ended)
    gone = [label for one in ended if isinstance(one, list) for label in one]
    assert len(gone) == len(set(gone))
    async with shelf.database.session(read_only=True) as session:
        for adapter in await deployments.in_service(session):
            registry.verify(shelf.data, adapter)


@asynccontextmanager
async def _failing(shelf: Shelf) -> AsyncIterator[AsyncSession]:
    """A session whose work is rolled back at its end."""
    async with shelf.database.session() as session:
        yield session
        raise ValueError("changed my mind")
