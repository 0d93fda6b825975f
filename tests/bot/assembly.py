"""An assistant put together from real parts round a tiny model: what tests of the edges start from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from bot.answering.answerer import AdapterFiles, Sampling
from bot.answering.local import LocalAnswerer
from bot.api.keys import new_key
from bot.assistant import Assistant, AssistantOptions
from bot.core import Core, ModelIdentity
from feedback.database import Database
from feedback.tables import Adapter
from feedback.words import AdapterState, AdapterVersion
from tests.bot.answering.conftest import ALL_LINEAR, save_adapter
from training.adapters import registry

BASE = "tiny"
REVISION = "r1"

BARE, BARE_LINE = new_key("ci")
GUILD, GUILD_LINE = new_key("helpdesk", "discord:guild-1")
"""Keys of the API with their settings lines: one of nobody's, and one of a community."""


def core_of(database: Database, data: Path) -> Core:
    """The core of a service over that record, with the tiny model's name."""
    return Core(database, data, b"k" * 32, ModelIdentity(BASE, REVISION))


@dataclass
class Assembly:
    """The assistant and what it is made of; `model_folder` is a tiny model's, `data` the data folder."""

    database: Database
    data: Path
    model_folder: Path
    max_running: int = 4
    max_waiting: int = 8

    @cached_property
    def tokenizer(self) -> Any:
        """The model's tokenizer; its chat template may be exchanged before the first question."""
        return AutoTokenizer.from_pretrained(self.model_folder)

    @cached_property
    def answerer(self) -> LocalAnswerer:
        """The engine over the tiny model; close it at the end."""
        return LocalAnswerer(
            self._model(),
            self.tokenizer,
            name=BASE,
            revision=REVISION,
            max_running=self.max_running,
            max_waiting=self.max_waiting,
        )

    @cached_property
    def core(self) -> Core:
        """What the service hands on."""
        return core_of(self.database, self.data)

    @cached_property
    def assistant(self) -> Assistant:
        """The assistant over the answerer."""
        options = AssistantOptions(
            persona="Be brief.",
            mode="default",
            sampling=Sampling(max_new_tokens=12),
            history_turns=4,
            max_question_characters=1000,
        )
        return Assistant(self.core, self.answerer, options)

    async def add_adapter(
        self, name: str = "support", *, state: AdapterState = "promoted", seed: int = 1, **row: Any
    ) -> Adapter:
        """A random adapter, registered as the next version of `name`."""
        staged = save_adapter(
            self._model(), self.data / "staged", seed=seed, r=8, lora_alpha=16, target_modules=ALL_LINEAR
        )
        values = {"base_model": BASE, "base_revision": REVISION} | row
        async with self.database.session() as session:
            adapter = await registry.add(session, self.data, staged, name=name, **values)
            adapter.state = state
            session.add(adapter)
        return adapter

    def files(self, adapter: Adapter) -> AdapterFiles:
        """The adapter as an answerer takes it."""
        version = AdapterVersion(adapter.name, adapter.version)
        return AdapterFiles(version, registry.folder(self.data, adapter), adapter.content_hash)

    def _model(self) -> Any:
        return AutoModelForCausalLM.from_pretrained(self.model_folder, dtype=torch.float32)
