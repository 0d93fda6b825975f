"""An adapter as a folder or a .zip that PEFT and vLLM load as it is, with a card that names nobody.

What goes out is verified first. The base model is called by the name that the rest of the world knows it by.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from feedback.database import Database
from feedback.errors import UsageError
from feedback.plural import counted
from feedback.tables import Adapter
from feedback.words import AdapterVersion
from training import files
from training.adapters import lineage, plain_lora, registry
from training.adapters.lineage import AdapterLineage
from training.adapters.registry import CONFIG
from training.errors import AdapterError
from training.model import names

CARD: Final = "README.md"
VLLM_RANKS: Final = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What `--max-lora-rank` may be."""

_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Exported:
    """Where an adapter was written to, and what whoever loads it must know.

    `against_vllm` are the reasons why vLLM would not load it; `vllm` is the command that serves it, "" where
    there are any.
    """

    adapter: str
    place: Path
    base_model: str
    rank: int
    vllm: str
    against_vllm: tuple[str, ...]


async def export(database: Database, data: Path, wanted: str, place: Path) -> Exported:
    """Write an adapter to `place`, which must not exist yet: a .zip by its name, otherwise a folder.

    Raises NotFound; UsageError for the base model or where something is in the way; AdapterError when the
    files are damaged or cannot be written.
    """
    if place.exists():
        raise UsageError(f"{place} is there already.", "Name a folder or a .zip that is not there yet.")
    async with database.session(read_only=True) as session:
        adapter = await registry.find(session, wanted)
        if adapter is None:
            raise UsageError(
                "The base model is no adapter, so there is nothing to export.", "Name one as name@version."
            )
        origin = await lineage.of_adapter(session, adapter, most=0)
    return await asyncio.to_thread(_write, data, adapter, origin, place)


def against_vllm(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Why vLLM would not load an adapter of that configuration, by its documentation; empty when it would."""
    reasons = []
    if config.get("use_dora"):
        reasons.append("it is a DoRA adapter (use_dora)")
    if config.get("modules_to_save"):
        reasons.append("it replaces whole modules (modules_to_save)")
    if config.get("bias", "none") != "none":
        reasons.append(f"it trains biases (bias={config['bias']})")
    if config.get("rank_pattern") or config.get("alpha_pattern"):
        reasons.append("its layers differ in rank or alpha (rank_pattern, alpha_pattern)")
    if not plain_lora.leaves_base_alone(config):
        reasons.append(
            "its initialisation changed the base model's weights "
            f"(init_lora_weights={config['init_lora_weights']})"
        )
    if config["r"] > VLLM_RANKS[-1]:
        reasons.append(f"its rank {config['r']} is above {VLLM_RANKS[-1]}")
    if {"lm_head", "embed_tokens"} & {name.rpartition(".")[2] for name in config["target_modules"]}:
        reasons.append("it is on the embeddings or the output layer")
    return tuple(reasons)


def _write(data: Path, adapter: Adapter, origin: AdapterLineage, place: Path) -> Exported:
    """Write the verified adapter with its card to `place`: all of it or nothing."""
    source = registry.verify(data, adapter)
    config = json.loads((source / CONFIG).read_text(encoding="utf-8"))
    public = names.public_name(adapter.base_model)
    config["base_model_name_or_path"] = public
    # a hash over our own files is no revision that a hub could be asked for
    config["revision"] = adapter.base_revision if _COMMIT.fullmatch(adapter.base_revision) else None
    config["inference_mode"] = True
    reasons = against_vllm(config)
    shown = place.with_suffix("") if place.suffix == ".zip" else place
    rank = next((allowed for allowed in VLLM_RANKS if allowed >= config["r"]), 0)
    # the name under which a Thumbloop that asks this server looks for it
    name = registry.served_name(AdapterVersion(adapter.name, adapter.version), adapter.content_hash)
    command = f"vllm serve {public} --enable-lora --max-lora-rank {rank} --lora-modules"
    served = "" if reasons else f"{command} {shlex.quote(f'{name}={shown}')}"
    # where it lies here is nobody's business elsewhere
    served_elsewhere = "" if reasons else f"{command} {name}=FOLDER"
    exported = Exported(registry.label(adapter), place, public, config["r"], served, reasons)
    with files.faults_explained("Writing the adapter to", place, AdapterError):
        place.parent.mkdir(parents=True, exist_ok=True)
        with files.part_folder(place) as part:
            (part / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
            for file in source.iterdir():
                if file.name not in (CONFIG, CARD, files.MANIFEST):
                    shutil.copyfile(file, part / file.name)
            (part / CARD).write_text(
                _card(adapter, origin, config, exported, served_elsewhere, source), encoding="utf-8"
            )
            if place.suffix == ".zip":
                _pack(part, place)
            else:
                part.rename(place)
    return exported


def _pack(folder: Path, place: Path) -> None:
    part = files.part_of(place)
    try:
        with zipfile.ZipFile(part, "x") as packed:
            for path in sorted(folder.iterdir()):
                packed.write(path, f"{place.stem}/{path.name}")
        part.rename(place)
    finally:
        part.unlink(missing_ok=True)


def _card(
    adapter: Adapter,
    origin: AdapterLineage,
    config: Mapping[str, Any],
    exported: Exported,
    served: str,
    source: Path,
) -> str:
    """The model card: what it is, what is behind it in numbers, how to load it. Nobody is named."""
    candidate, base = (adapter.metrics.get(subject, {}) for subject in ("candidate", "base"))
    rows = {
        "Adapter": f"{exported.adapter}, {adapter.state}",
        "Base model": f"{exported.base_model}, revision {adapter.base_revision}",
        "LoRA": f"rank {config['r']}, alpha {config.get('lora_alpha')}, on "
        f"{', '.join(sorted(config['target_modules']))}",
        "Learnt from": f"{counted(origin.pairs, 'pair')} that moderators approved, of "
        f"{counted(len(origin.members), 'member')}"
        if origin.datasets
        else "not known here: it was imported",
        "Datasets": ", ".join(f"{one.dataset} (SHA-256 {one.content_hash})" for one in origin.datasets),
        "Continues": ", ".join(origin.continues),
        "Held-out loss": f"{candidate['loss']:.4f}, base model {base['loss']:.4f} (nats per answer token)"
        if isinstance(candidate.get("loss"), float) and isinstance(base.get("loss"), float)
        else "",
        "Content": f"SHA-256 {adapter.content_hash} (the manifest of the adapter in its registry)",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items() if value)
    vllm = f"```\n{served}\n```" if served else f"Not by vLLM: {'; '.join(exported.against_vllm)}."
    return f"""---
base_model: {exported.base_model}
library_name: peft
pipeline_tag: text-generation
tags:
- lora
- thumbloop
---

# {exported.adapter}

A LoRA adapter for {exported.base_model}.

| | |
| --- | --- |
{table}

## Loading it

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("{exported.base_model}"), "FOLDER")
```

{vllm}

`fingerprint.json` holds what base model and adapter say to a few probe prompts, in figures: who serves
it can compare. `thumbloop adapter import FOLDER` takes it into another installation.
{_training(source)}"""


def _training(source: Path) -> str:
    """What the training wrote on its own card, below the front matter; it names nobody either."""
    card = source / CARD
    if not card.is_file():
        return ""
    text = card.read_text(encoding="utf-8")
    _, _, table = text.rpartition("| --- | --- |\n")
    return f"\n## Training\n\n| | |\n| --- | --- |\n{table}" if table != text else ""
