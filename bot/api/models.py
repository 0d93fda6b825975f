"""Which models there are: the base model, its adapters that may serve, and what serves the caller.

`thumbloop` is whatever serves the key's community; an adapter is `name@version`, or `name` for its newest
version, or `name@version-hash` for exactly that content; the base model goes by its own name or `base`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from sqlmodel.ext.asyncio.session import AsyncSession

from bot.access.rights import require
from bot.api.errors import model_not_found
from bot.api.keys import ApiKey
from bot.assistant import Assistant
from bot.core import Core
from feedback.errors import NotFound
from feedback.tables import Adapter
from feedback.words import AdapterVersion
from training.adapters import deployments, registry

SERVING: Final = "thumbloop"
"""The model that stands for whatever serves the key's community, or, for a key without one, everyone."""
OWNER: Final = "thumbloop"

_EXACT = re.compile(rf"(?P<label>.+)-(?P<hash>[0-9a-f]{{{registry.HASH_DIGITS}}})")


@dataclass(frozen=True)
class Chosen:
    """The model of a request: `name` is what the answer says, `adapter` None is the base model alone.

    `follows_community`: what serves the key's community answers, whatever `adapter` says.
    """

    name: str
    adapter: Adapter | None
    follows_community: bool = False


async def model_cards(core: Core, assistant: Assistant) -> list[dict[str, Any]]:
    """Every model that can be asked for, as OpenAI lists them, with what vLLM adds to that.

    An adapter's `root` is its content-carrying name, by which another Thumbloop recognises it.
    """
    base = core.model.base_model
    async with core.database.session(read_only=True) as session:
        adapters = await registry.list_adapters(session)
    return [
        _card(assistant, base, base),
        _card(assistant, SERVING, SERVING, parent=base),
        *(
            _card(
                assistant,
                registry.label(adapter),
                _root(adapter),
                parent=base,
                created=int(adapter.created_at.timestamp()),
            )
            for adapter in adapters
            if _may_serve(adapter, base)
        ),
    ]


async def choose(core: Core, key: ApiKey, model: str) -> Chosen:
    """The model called `model`. Raises ApiError when there is none of that name, or it may not serve."""
    base = core.model.base_model
    require(key.actor, "adapter.try", None)
    if model in (registry.BASE, base):
        return Chosen(base, None)
    if model == SERVING and key.platform is not None:
        return Chosen(SERVING, None, follows_community=True)
    async with core.database.session(read_only=True) as session:
        if model == SERVING:
            return Chosen(SERVING, await deployments.serving(session))
        adapter = await _named(session, model)
    if adapter is None or not _may_serve(adapter, base):
        raise model_not_found(
            f"The model {model!r} does not exist or may not serve. GET /v1/models lists those that do."
        )
    return Chosen(registry.label(adapter), adapter)


def _card(
    assistant: Assistant, id: str, root: str, *, parent: str | None = None, created: int = 0
) -> dict[str, Any]:
    return {
        "id": id,
        "object": "model",
        "created": created,
        "owned_by": OWNER,
        "root": root,
        "parent": parent,
        "max_model_len": assistant.answerer.context_tokens,
    }


def _root(adapter: Adapter) -> str:
    return registry.served_name(AdapterVersion(adapter.name, adapter.version), adapter.content_hash)


def _may_serve(adapter: Adapter, base: str) -> bool:
    return adapter.state != "candidate" and adapter.base_model == base


async def _named(session: AsyncSession, model: str) -> Adapter | None:
    exact = _EXACT.fullmatch(model)
    label = exact["label"] if exact and "@" in exact["label"] else model
    try:
        if "@" in label:
            AdapterVersion.parse(label)
        else:
            AdapterVersion(label, 1)
        adapter = await registry.find(session, label)
    except (ValueError, NotFound):  # no adapter can have that name, or none has it
        return None
    if adapter is not None and label != model and _root(adapter) != model:
        return None
    return adapter
