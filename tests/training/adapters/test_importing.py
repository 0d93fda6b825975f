"""Adapters that leave and adapters that come: loaded elsewhere as they are, imported only after a check."""

from __future__ import annotations

import asyncio
import json
import re
import resource
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from sqlmodel import select
from transformers import AutoModelForCausalLM

from feedback.database import Database
from feedback.errors import Conflict, UsageError
from feedback.tables import Adapter, Audit
from feedback.words import AdapterVersion
from tests.chronicle import Chronicle
from tests.conftest import SQLITE
from tests.training import lessons
from training.adapters import deployments, exporting, importing, registry
from training.adapters.importing import CONFIG, WEIGHTS, Imported
from training.errors import AdapterError
from training.model import fingerprint, names
from training.model.base_model import BaseModel, ModelChoice
from training.run.examine import examine


@pytest.fixture(scope="module")
def base(tiny_model_folder: Path) -> BaseModel:
    return lessons.load(tiny_model_folder)


@pytest.fixture(scope="module")
def made_elsewhere(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of the tiny model as peft saves it; tests read it and never write to it."""
    folder = tmp_path_factory.mktemp("elsewhere") / "My Adapter"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = get_peft_model(
            AutoModelForCausalLM.from_pretrained(tiny_model_folder),
            LoraConfig(r=4, task_type="CAUSAL_LM", init_lora_weights=False, target_modules=["q_proj"]),
        )
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def source(made_elsewhere: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may spoil."""
    return shutil.copytree(made_elsewhere, tmp_path / "source")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


async def import_poet(database: Database, data: Path, source: Path, base: BaseModel, **more: Any) -> Imported:
    return await importing.import_adapter(
        database, data, source, base, **({"name": "poet", "by": "ada"} | more)
    )


async def rows(database: Database, table: Any) -> list[Any]:
    async with database.session(read_only=True) as session:
        return list((await session.exec(select(table))).all())


def configure(source: Path, **changes: Any) -> None:
    config = json.loads((source / CONFIG).read_text())
    (source / CONFIG).write_text(json.dumps(config | changes))


def reweigh(source: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(source / WEIGHTS)
    change(tensors)
    save_file(tensors, source / WEIGHTS)


def pack(source: Path, place: Path, **more: str | bytes) -> Path:
    with zipfile.ZipFile(place, "w") as packed:
        for path in source.iterdir():
            packed.write(path, f"poet/{path.name}")
        for name, content in more.items():
            packed.writestr(name, content)
    return place


def nothing_left(data: Path) -> bool:
    return not [path for path in data.rglob("*") if path.is_file()]


# --- imported ---


@pytest.mark.parametrize("packed", [False, True])
async def test_a_foreign_adapter_becomes_a_candidate_with_a_fingerprint_of_ours(
    database: Database, data: Path, source: Path, base: BaseModel, packed: bool, tmp_path: Path
) -> None:
    (source / "tokenizer.json").write_text("{}")
    given = pack(source, tmp_path / "poet.zip") if packed else source
    imported = await import_poet(database, data, given, base)
    assert (imported.adapter, imported.rank, imported.layers) == ("poet@1", 4, 2)
    assert "tokenizer.json" in imported.left_behind
    (adapter,) = await rows(database, Adapter)
    assert (adapter.state, adapter.base_model, adapter.base_revision) == (
        "candidate",
        base.name,
        base.revision,
    )
    place = registry.verify(data, adapter)
    assert {path.name for path in place.iterdir()} == {CONFIG, WEIGHTS, "fingerprint.json", "manifest.json"}
    assert fingerprint.read(place) is not None
    assert ("ada", "adapter.import", "poet@1") in [
        (entry.actor, entry.action, entry.subject) for entry in await rows(database, Audit)
    ]
    with pytest.raises(
        Conflict, match=r"no verdict yet, so it may not serve\. `thumbloop adapter examine poet@1`"
    ):
        async with database.session() as session:
            await deployments.switch(session, adapter, by="ada")


@SQLITE
async def test_what_its_configuration_says_beside_the_known_is_not_taken_over(
    database: Database, data: Path, source: Path, base: BaseModel
) -> None:
    configure(source, megatron_core="evil.module", base_model_name_or_path=base.name, lora_dropout=0.5)
    await import_poet(database, data, source, base)
    taken = json.loads((data / "adapters/poet/1" / CONFIG).read_text())
    assert "megatron_core" not in taken
    assert (taken["base_model_name_or_path"], taken["target_modules"]) == (base.name, ["q_proj"])


async def test_imports_at_once_get_versions_of_their_own(
    database: Database, database_url: str, data: Path, source: Path, base: BaseModel
) -> None:
    second = Database(database_url)
    try:
        both = [await import_poet(one, data, source, base) for one in (database, second)]
        async with asyncio.TaskGroup() as group:
            for one in (database, second):
                group.create_task(
                    importing._register(one, data, _staged(data, source), base, "poet", "ada", {})
                )
    finally:
        await second.close()
    assert [one.adapter for one in both] == ["poet@1", "poet@2"]
    assert sorted(adapter.version for adapter in await rows(database, Adapter)) == [1, 2, 3, 4]


def _staged(data: Path, source: Path) -> Path:
    numbers = len(list(data.glob("staged-*")))
    return shutil.copytree(source, data / f"staged-{numbers}")


@SQLITE
@pytest.mark.parametrize("pattern", [r".*\.(q_proj|v_proj)", "all-linear", "(a+)+$", "["])
async def test_where_the_layers_are_named_by_a_pattern_the_tensors_say_which_they_are(
    database: Database, data: Path, source: Path, base: BaseModel, pattern: str
) -> None:
    configure(source, target_modules=pattern)
    assert (await import_poet(database, data, source, base)).layers == 2
    (adapter,) = await rows(database, Adapter)
    clean = json.loads((registry.verify(data, adapter) / CONFIG).read_text())
    assert clean["target_modules"] == ["q_proj"]


# --- refused ---


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@SQLITE
@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda f: (f / "training_args.bin").write_bytes(b"x"), "training_args.bin is a pickle"),
        (lambda f: (f / "modeling.py").write_text("import os"), "modeling.py is a program"),
        (lambda f: (f / "notes").symlink_to("/etc/hostname"), "notes is a link"),
        (lambda f: (f / WEIGHTS).unlink(), f"{WEIGHTS} is missing"),
        (lambda f: _cut(f / WEIGHTS), f"{WEIGHTS} is corrupt"),
        (lambda f: (f / CONFIG).write_text("{"), f"{CONFIG} is not readable"),
        (lambda f: (f / CONFIG).write_text("[" * 2**21), "bytes, and at most 1,048,576 are allowed"),
        (lambda f: configure(f, peft_type="LOHA"), "of type LOHA, and only LORA"),
        (lambda f: configure(f, task_type="SEQ_CLS"), "for the task 'SEQ_CLS'"),
        (lambda f: configure(f, auto_mapping={"base_model_class": "X"}), "classes of its own"),
        (lambda f: configure(f, use_dora=True), "DoRA"),
        (lambda f: configure(f, modules_to_save=["lm_head"]), "modules_to_save"),
        (lambda f: configure(f, bias="all"), "biases"),
        (lambda f: configure(f, init_lora_weights="pissa"), "changes the base model's weights"),
        (lambda f: configure(f, r=8), r"needs \(8, 64\) and \(64, 8\) at rank 8"),
        (lambda f: configure(f, target_modules=["q_proj", "(a+)+$"]), "nor a list of layers' names"),
        (lambda f: configure(f, target_modules=None), "neither a pattern nor a list"),
        (lambda f: reweigh(f, lambda t: [one.fill_(3e38) for one in t.values()]), "no finite numbers"),
        (lambda f: configure(f, target_modules=["q_proj", "v_proj"]), "no weights for the layers v_proj"),
        (lambda f: reweigh(f, lambda t: t.pop(next(iter(t)))), "one of the two matrices"),
        (lambda f: reweigh(f, lambda t: next(iter(t.values())).fill_(float("nan"))), "not numbers"),
        (lambda f: reweigh(f, lambda t: [one.zero_() for one in t.values()]), "changes nothing"),
        (
            lambda f: reweigh(f, lambda t: t.update({"base_model.model.lm_head.weight": torch.ones(2, 2)})),
            "not one of a plain LoRA",
        ),
        (lambda f: configure(f, base_model_name_or_path="other/model"), "trained on other/model, and tiny"),
        (lambda f: configure(f, revision="0" * 40), "trained on revision 000000000000 of tiny"),
        (lambda f: shutil.rmtree(f), "There is no folder or .zip"),
    ],
)
async def test_what_does_not_fit_is_refused_with_the_reason_and_nothing_of_it_is_left(
    database: Database,
    data: Path,
    source: Path,
    base: BaseModel,
    spoil: Callable[[Path], object],
    told: str,
) -> None:
    spoil(source)
    with pytest.raises(AdapterError, match=told):
        await import_poet(database, data, source, base)
    assert nothing_left(data) and await rows(database, Adapter) == []


@SQLITE
@pytest.mark.parametrize("name", ["../evil.txt", "/tmp/evil.txt", "poet/../../evil", "C:\\evil", "a\\b"])
async def test_a_zip_that_would_write_outside_is_refused(
    database: Database, data: Path, source: Path, base: BaseModel, name: str, tmp_path: Path
) -> None:
    place = pack(source, tmp_path / "poet.zip", **{name: "evil"})
    with pytest.raises(AdapterError, match="outside the folder"):
        await import_poet(database, data, place, base)
    assert nothing_left(data) and not (tmp_path / "evil.txt").exists()


@SQLITE
async def test_a_zip_with_a_link_or_with_more_than_it_announces_is_refused(
    database: Database, data: Path, source: Path, base: BaseModel, tmp_path: Path
) -> None:
    link = zipfile.ZipInfo("poet/notes")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    place = pack(source, tmp_path / "poet.zip")
    with zipfile.ZipFile(place, "a") as packed:
        packed.writestr(link, "/etc/passwd")
    with pytest.raises(AdapterError, match="link or no regular file"):
        await import_poet(database, data, place, base)
    (tmp_path / "none.zip").write_bytes(b"no zip at all")
    with pytest.raises(AdapterError, match=r"no \.zip that can be read"):
        await import_poet(database, data, tmp_path / "none.zip", base)
    assert nothing_left(data)


@SQLITE
async def test_a_persons_word_counts_for_the_base_model_but_not_against_it(
    database: Database, data: Path, source: Path, base: BaseModel
) -> None:
    configure(source, base_model_name_or_path="renamed/model")
    with pytest.raises(UsageError, match="larger is not the base model here: that is tiny-llama"):
        await import_poet(database, data, source, base, confirmed_base="larger")
    imported = await import_poet(database, data, source, base, confirmed_base="tiny-llama")
    assert (imported.adapter, imported.claimed_base) == ("poet@1", "renamed/model")


@SQLITE
@pytest.mark.parametrize("name", ["base", "No Name", "", "a" * 64])
async def test_a_name_that_no_adapter_can_have_is_refused(
    database: Database, data: Path, source: Path, base: BaseModel, name: str
) -> None:
    with pytest.raises(UsageError, match="cannot be called"):
        await import_poet(database, data, source, base, name=name)


@SQLITE
async def test_a_disk_that_takes_no_more_is_said_and_nothing_of_it_is_left(
    database: Database, data: Path, source: Path, base: BaseModel
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((source / WEIGHTS).stat().st_size - 1, hard))
    try:
        with pytest.raises(AdapterError, match=r"Importing the adapter from .* failed .*ulimit -f"):
            await import_poet(database, data, source, base)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert nothing_left(data) and await rows(database, Adapter) == []


# --- examined ---


async def test_an_examination_gives_an_imported_adapter_its_verdict_and_lets_nothing_serve(
    chronicle: Chronicle, data: Path, source: Path, base: BaseModel, tiny_model_folder: Path
) -> None:
    for number in range(10):
        await chronicle.approved(f"What is {number}?", f"{number} is a lamp.", conversation=f"t {number}")
    database = chronicle.database
    await import_poet(database, data, source, base)
    outcome = await examine(
        database,
        data=data,
        model=ModelChoice(str(tiny_model_folder), tiny_model_folder.parent, device="cpu", precision="fp32"),
        settings=lessons.settings(min_pairs=4, validation_share=0.2, examination_questions=4),
        gate_settings=lessons.LENIENT,
        default_persona="plain",
        wanted="poet",
        started_by="ada",
    )
    assert outcome.adapter == "poet@1" and outcome.metrics.keys() == {"base", "candidate"}
    (adapter,) = await rows(database, Adapter)
    assert adapter.state == ("promoted" if outcome.verdict.promote else "rejected")
    assert adapter.metrics["candidate"]["loss"] == outcome.metrics["candidate"]["loss"]
    async with database.session() as session:
        assert await deployments.serving(session) is None
        await deployments.switch(session, adapter, by="ada")  # with a verdict it may


# --- exported ---


@pytest.mark.parametrize("packed", [False, True])
async def test_what_is_exported_is_loaded_by_peft_and_says_the_same(
    database: Database, data: Path, source: Path, base: BaseModel, tmp_path: Path, packed: bool
) -> None:
    await import_poet(database, data, source, base)
    place = tmp_path / "out" / ("poet.zip" if packed else "poet")
    exported = await exporting.export(database, data, "poet", place)
    if packed:
        shutil.unpack_archive(place, tmp_path)
        place = tmp_path / "poet"
    assert {path.name for path in place.iterdir()} == {CONFIG, WEIGHTS, "README.md", "fingerprint.json"}
    card = (place / "README.md").read_text()
    assert re.search(r"--lora-modules poet@1-[0-9a-f]{12}=FOLDER\n", card) and str(tmp_path) not in card
    ids = torch.tensor([[1, 5, 9, 12]])
    said = []
    for folder in (source, place):
        with torch.inference_mode():
            model = PeftModel.from_pretrained(base.model, str(folder))
            said.append(model(input_ids=ids).logits.clone())
            model.unload()
    assert torch.equal(*said)
    async with database.session(read_only=True) as session:
        adapter = await registry.find(session, "poet@1")
    assert adapter is not None
    # the name by which a Thumbloop that asks the server looks for the adapter
    name = registry.served_name(AdapterVersion("poet", 1), adapter.content_hash)
    assert exported.vllm == (
        "vllm serve tiny-llama --enable-lora --max-lora-rank 8 "
        f"--lora-modules {name}={tmp_path / 'out' / 'poet'}"
    )
    again = await import_poet(database, data, place, base, name="poet")
    assert again.adapter == "poet@2"


@SQLITE
async def test_an_export_never_overwrites_and_the_base_model_is_none(
    database: Database, data: Path, source: Path, base: BaseModel, tmp_path: Path
) -> None:
    await import_poet(database, data, source, base)
    with pytest.raises(UsageError, match="is there already"):
        await exporting.export(database, data, "poet", source)
    with pytest.raises(UsageError, match="nothing to export"):
        await exporting.export(database, data, "base", tmp_path / "out")


def test_the_default_model_goes_out_under_its_public_name() -> None:
    assert names.public_name("SmolLM2-135M-Instruct") == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert names.public_name("Qwen/Qwen3-4B") == "Qwen/Qwen3-4B"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"r": 600}, "rank 600 is above 512"),
        ({"rank_pattern": {"q_proj": 4}}, "rank_pattern"),
        ({"target_modules": ["lm_head"]}, "output layer"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights=pissa"),
        ({"init_lora_weights": "olora"}, "init_lora_weights=olora"),
    ],
)
def test_what_vllm_would_not_load_is_said(changes: dict[str, Any], told: str) -> None:
    plain = {"r": 16, "target_modules": ["q_proj"], "use_rslora": True}
    assert exporting.against_vllm(plain) == ()
    (reason,) = exporting.against_vllm(plain | changes)
    assert told in reason
