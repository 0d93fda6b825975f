"""Which form of the base model answers: as set, or as measured on this machine."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bot.answering.answerer import AnswerRequest, Sampling
from bot.answering.engine import native
from bot.answering.serving import CLEARLY, local_answerer, serving
from bot.settings import Settings, load_settings
from tests.doubles.tiny_model import write_tiny_model

needs_the_compiled_step = pytest.mark.skipif(
    native.library() is None, reason="the compiled step is not built, or this CPU is no x86-64 with AVX2"
)


def settings_for(folder: Path, **told: str) -> Settings:
    model = folder / "model"
    if not model.exists():
        write_tiny_model(model)
    return load_settings(data=folder / "data", model=str(model), device="cpu", **told)


def test_full_precision_is_kept_where_it_is_set(tmp_path: Path) -> None:
    assert serving(settings_for(tmp_path, quantisation="none")).bits is None
    assert serving(settings_for(tmp_path, precision="fp32")).bits is None


@needs_the_compiled_step
def test_bits_are_those_that_are_set(tmp_path: Path) -> None:
    assert serving(settings_for(tmp_path, quantisation="8bit")).bits == 8
    assert serving(settings_for(tmp_path, quantisation="4bit")).bits == 4


@needs_the_compiled_step
def test_without_a_setting_the_faster_form_answers_and_is_measured_once(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    assert serving(settings, measure=False).reason == "measured at the first start"
    plan = serving(settings)
    kept = settings.models_folder / "serving-measured.json"
    (found,) = json.loads(kept.read_text()).values()
    assert (plan.bits == 8) == (found["torch_s"] > CLEARLY * found["compiled_s"])
    assert "times as fast as" in plan.reason
    # what was measured decides, and is not measured again; a little faster is not enough
    for torch_s, bits in ((2.0, 8), (1.1, None), (0.5, None)):
        kept.write_text(
            json.dumps({key: {**value, "compiled_s": 1.0, "torch_s": torch_s}
                        for key, value in json.loads(kept.read_text()).items()})
        )  # fmt: skip
        assert serving(settings).bits == bits


@needs_the_compiled_step
def test_what_a_busy_start_measured_is_measured_again_at_a_quieter_one(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    serving(settings)
    kept = settings.models_folder / "serving-measured.json"
    ((key, found),) = json.loads(kept.read_text()).items()
    busy = json.dumps({key: {**found, "load": 1e9}})
    kept.write_text(busy)
    serving(settings, measure=False)
    assert kept.read_text() == busy
    serving(settings)
    assert json.loads(kept.read_text())[key]["load"] < 1e9


@needs_the_compiled_step
def test_a_start_with_what_is_quantised_loads_no_modelling_code(tmp_path: Path) -> None:
    """It would take more memory than the weights of the default model."""
    asyncio.run(local_answerer(settings_for(tmp_path, quantisation="8bit")).close())
    start = f"""
import asyncio, sys
from pathlib import Path
from bot.answering.serving import local_answerer
from bot.settings import load_settings
folder = Path({str(tmp_path)!r})
settings = load_settings(
    data=folder / "data", model=str(folder / "model"), device="cpu", quantisation="8bit"
)
asyncio.run(local_answerer(settings).close())
print([name for name in ("transformers.modeling_utils", "torch._dynamo") if name in sys.modules])
"""
    found = subprocess.run([sys.executable, "-c", start], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "[]"


@needs_the_compiled_step
@pytest.mark.parametrize("quantisation", ["8bit", "4bit"])
async def test_a_quantised_model_answers(quantisation: str, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    answerer = local_answerer(settings_for(tmp_path, quantisation=quantisation))
    asked = AnswerRequest([{"role": "user", "content": "Hello"}], None, Sampling(max_new_tokens=5), "a")
    pieces = [piece async for piece in answerer.stream(asked)]
    assert pieces[-1].usage is not None and pieces[-1].usage.prompt_tokens > 0
    assert torch.get_num_threads() == threads
    await answerer.close()
