"""The registry at the command line: pinned, pruned, and asked for what is behind its adapters."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from feedback.database import Database
from feedback.tables import Dataset
from tests.bot.cli.conftest import Thumbloop
from training.adapters import registry
from training.model.base_model import ModelChoice


def add(data: Path, folder: Path, name: str = "tiny", **more: Any) -> str:
    """Another adapter with a verdict in the registry, with the files of `folder`; its label."""

    async def added() -> str:
        database = Database(f"sqlite:///{data / 'thumbloop.db'}")
        try:
            staged = data / "staged"
            shutil.copytree(folder, staged)
            async with database.session() as session:
                dataset = (await session.exec(select(Dataset))).first()
                values = {
                    "name": name,
                    "base_model": "tiny-llama",
                    "base_revision": "r",
                    "dataset_id": dataset and dataset.id,
                }
                adapter = await registry.add(session, data, staged, **(values | more))
                adapter.state = "promoted"
                session.add(adapter)
                return registry.label(adapter)
        finally:
            await database.close()

    return asyncio.run(added())


def test_a_prune_says_what_it_would_delete_and_deletes_it_only_when_told(
    thumbloop: Thumbloop, adapter: str, data: Path, tiny_adapter: Path
) -> None:
    for _ in range(3):
        add(data, tiny_adapter)
    assert "tiny@1 is pinned" in thumbloop("adapter", "pin", "tiny@1").out
    told = thumbloop("adapter", "prune", "--keep", 1)
    assert told.out.startswith("The files of tiny@3, tiny@2 would be deleted; nothing is yet.")
    assert (data / "adapters" / "tiny" / "2").exists()
    pruned = thumbloop("adapter", "prune", "--keep", 1, "--yes", "--json").json
    assert pruned == {"keep": 1, "deleted": True, "adapters": ["tiny@3", "tiny@2"]}
    assert not (data / "adapters" / "tiny" / "2").exists()
    assert "nothing to prune" in thumbloop("adapter", "prune", "--keep", 1).out
    kept = {one["label"]: one["pinned"] for one in thumbloop("adapter", "list", "--json").json}
    assert kept == {"base": False, "tiny@4": False, "tiny@1": True}
    assert "tiny@2" in thumbloop("adapter", "list", "--all").out
    refused = thumbloop("adapter", "switch", "tiny@2")
    assert refused.status == 1 and "tiny@2 was retired" in refused.err
    assert "deleted" in thumbloop("adapter", "show", "tiny@2").out
    assert "tiny@1 is not pinned" in thumbloop("adapter", "unpin", "tiny@1").out


def test_a_prune_asks_how_many_to_keep_unless_the_settings_say(
    thumbloop: Thumbloop, adapter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = thumbloop("adapter", "prune")
    assert refused.status == 2 and "--keep" in refused.err
    monkeypatch.setenv("THUMBLOOP_TRAINING__KEEP_VERSIONS", "3")
    assert thumbloop("adapter", "prune", "--json").json == {"keep": 3, "deleted": False, "adapters": []}


def test_lineage_goes_from_the_adapter_to_the_turns_and_back(
    thumbloop: Thumbloop, data: Path, tiny_adapter: Path, pairs_file: Callable[[int], Path]
) -> None:
    thumbloop("import", pairs_file(20))
    built = thumbloop("dataset", "build", "--json").json
    label = add(data, tiny_adapter)
    found = thumbloop("adapter", "lineage", label, "--limit", 1, "--json").json
    assert found["pairs"] == built["pairs"]["train"] + built["pairs"]["validation"]
    (origin,) = found["origins"]
    back = thumbloop("adapter", "lineage", "--turn", origin["turn"], "--json").json
    assert back["adapters"] == [label] and back["datasets"][0]["dataset"] == built["label"]
    assert label in thumbloop("adapter", "lineage", "--turn", origin["turn"]).out
    shown = thumbloop("adapter", "lineage", label)
    assert built["label"] in shown.out and "What is" in shown.out


def test_what_a_member_asked_is_followed_to_no_adapter_before_one_is_trained(thumbloop: Thumbloop) -> None:
    turn = thumbloop("ask", "What is LoRA?", "--json").json["turn_id"]
    member = thumbloop("adapter", "lineage", "--turn", turn, "--json").json["member"]
    assert "no adapter" in thumbloop("adapter", "lineage", "--member", member).out
    assert thumbloop("adapter", "lineage", "--member", member, "--json").json["turns"] == 1


@pytest.mark.parametrize("wrong", [(), ("tiny@1", "--turn", 1)])
def test_lineage_wants_exactly_one_thing_to_follow(thumbloop: Thumbloop, wrong: tuple[object, ...]) -> None:
    refused = thumbloop("adapter", "lineage", *wrong)
    assert refused.status == 2 and "--member WHO" in refused.err


def test_a_base_model_whose_revision_changed_is_named_and_its_adapters_serve_no_more(
    thumbloop: Thumbloop,
    data: Path,
    tiny_model: Path,
    tiny_adapter: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    thumbloop("db", "upgrade")
    now = ModelChoice(str(tiny_model), data).present_revision()
    label = add(data, tiny_adapter, base_revision=now)
    assert thumbloop("adapter", "switch", label).status == 0
    assert thumbloop("ask", "What is LoRA?", "--json").json["adapter"] == label
    changed = shutil.copytree(tiny_model, tmp_path / "changed" / tiny_model.name)
    (changed / "config.json").write_text((changed / "config.json").read_text() + "\n")
    monkeypatch.setenv("THUMBLOOP_MODEL", str(changed))
    assert thumbloop("ask", "What is LoRA?", "--json").json["adapter"] == "base"
    said = f"trained on revision {now[:12]} of tiny-llama"
    (finding,) = [one for one in thumbloop("doctor", "--json").json if one["name"] == "adapters"]
    assert finding["severity"] == "fault" and said in finding["detail"]
    thumbloop("adapter", "switch", "base")
    refused = thumbloop("adapter", "switch", label)
    assert refused.status == 1 and said in refused.err


@pytest.fixture
def made_elsewhere(tiny_adapter: Path, tmp_path: Path) -> Path:
    """An adapter as somebody else would send it."""
    folder = shutil.copytree(tiny_adapter, tmp_path / "Poet v2")
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(
        json.dumps(config | {"task_type": "CAUSAL_LM", "auto_mapping": None})
    )
    return folder


def test_an_adapter_comes_in_as_a_candidate_and_goes_out_as_a_zip(
    thumbloop: Thumbloop, made_elsewhere: Path, tmp_path: Path
) -> None:
    imported = thumbloop("adapter", "import", made_elsewhere)
    assert imported.status == 0 and "poet-v2@1 is a candidate: rank 4 on 4 layers." in imported.out
    assert "README.md" in imported.err
    refused = thumbloop("adapter", "switch", "poet-v2")
    assert refused.status == 1 and "thumbloop adapter examine poet-v2@1" in refused.err
    assert "it was imported" in thumbloop("adapter", "lineage", "poet-v2").out
    exported = thumbloop("adapter", "export", "poet-v2", tmp_path / "poet.zip")
    assert "PEFT loads it, and vLLM: vllm serve tiny-llama --enable-lora --max-lora-rank 8" in exported.out
    again = thumbloop("adapter", "import", tmp_path / "poet.zip", "--json").json
    assert (again["adapter"], again["left_behind"]) == ("poet@1", ["README.md"])


def test_a_foreign_adapter_that_is_refused_leaves_the_registry_as_it_was(
    thumbloop: Thumbloop, made_elsewhere: Path
) -> None:
    (made_elsewhere / "adapter_model.bin").write_bytes(b"x")
    refused = thumbloop("adapter", "import", made_elsewhere, "--name", "poet")
    assert refused.status == 1 and "adapter_model.bin is a pickle" in refused.err
    assert [one["label"] for one in thumbloop("adapter", "list", "--json").json] == ["base"]


@pytest.mark.slow
def test_an_examination_gives_its_verdict_with_figures_and_lets_nothing_serve(
    thumbloop: Thumbloop, made_elsewhere: Path, pairs_file: Callable[[int], Path]
) -> None:
    thumbloop("import", pairs_file(60))
    thumbloop("adapter", "import", made_elsewhere, "--name", "poet")
    examined = thumbloop("adapter", "examine", "poet@1", "--json").json
    state = "promoted" if examined["verdict"]["promote"] else "rejected"
    assert {one["subject"] for one in examined["examined"]} == {"base", "candidate"}
    listed = {one["label"]: (one["state"], one["serves"]) for one in _listed(thumbloop)}
    assert listed == {"base": ("", ["every community"]), "poet@1": (state, [])}
    assert thumbloop("adapter", "switch", "poet@1").status == 0


def _listed(thumbloop: Thumbloop) -> Any:
    return thumbloop("adapter", "list", "--json").json


def test_a_canary_begins_with_its_share_and_what_is_no_share_is_refused(
    thumbloop: Thumbloop, adapter: str
) -> None:
    for wrong in ("0", "1", "1.5"):
        refused = thumbloop("adapter", "switch", "tiny@1", "--share", wrong)
        assert refused.status != 0 and "between 0 and 1" in refused.err, wrong
    begun = thumbloop("adapter", "switch", "tiny@1", "--share", "0.1")
    assert begun.out.startswith("tiny@1 answers 10% of conversations now.")
    listed = {one["label"]: one["serves"] for one in thumbloop("adapter", "list", "--json").json}
    assert listed["tiny@1"] == ["10% of every community"]
    assert thumbloop("adapter", "rollback").status == 0
    assert "10" not in str(
        {one["label"]: one["serves"] for one in thumbloop("adapter", "list", "--json").json}
    )
