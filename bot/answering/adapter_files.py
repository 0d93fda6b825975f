"""An adapter of the record as an answerer takes it: its files, verified and made for the model in use."""

from __future__ import annotations

from pathlib import Path

from bot.answering.answerer import AdapterFiles
from bot.core import ModelIdentity
from bot.errors import AdapterRefused
from feedback.tables import Adapter
from feedback.words import AdapterVersion
from training.adapters import registry


def verified_files(data: Path, adapter: Adapter, model: ModelIdentity) -> AdapterFiles:
    """The adapter's files, every one of which is read and hashed.

    Raises AdapterError when they are damaged, and AdapterRefused when the adapter was trained on another
    model or revision.
    """
    folder = registry.verify(data, adapter)
    version = AdapterVersion(adapter.name, adapter.version)
    reason = registry.other_base(adapter, model.base_model, model.base_revision)
    if reason is not None:
        raise AdapterRefused(version, reason)
    return AdapterFiles(version, folder, adapter.content_hash)
