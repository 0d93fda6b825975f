"""What a model server is and how it stands, for `thumbloop doctor`. Asks only; changes nothing there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import httpx

from bot.answering.model_server import VLLM, Broken, ModelServer, Refused
from bot.answering.remote import RemoteAnswerer, base_model_name
from bot.settings import Settings

_NAMES: Final = {VLLM: "vLLM", "thumbloop": "Thumbloop"}


@dataclass(frozen=True)
class ServerReport:
    """How the server stands.

    `software` is what it says it is, "" where it says nothing. `loads_adapters` says whether vLLM loads
    adapters at run time, None for other servers. `answers_strangers`: vLLM answered without the
    key, outside the paths that its `--api-key` guards.
    """

    base_model: str
    context_tokens: int
    software: str
    adapters: int
    loads_adapters: bool | None
    answers_strangers: bool


async def report(settings: Settings) -> ServerReport:
    """Ask the server that `settings.remote` names.

    Raises SettingsError when it doesn't serve what is set, AnsweringFailed when it can't be asked.
    """
    remote = settings.remote.model_copy(update={"retries": 0})
    answerer = RemoteAnswerer(remote, name=base_model_name(settings))
    server = ModelServer(remote)
    try:
        await answerer.connect()
        is_vllm = answerer.owner == VLLM
        version = await _version_for_strangers(remote.url, remote.connect_s) if is_vllm else ""
        return ServerReport(
            base_model=answerer.served_base,
            context_tokens=answerer.context_tokens,
            software=f"{_NAMES.get(answerer.owner, answerer.owner)} {version}".strip(),
            adapters=sum(bool(card.get("parent")) for card in await server.models()),
            loads_adapters=await _loads_adapters(server) if is_vllm else None,
            answers_strangers=bool(version),
        )
    finally:
        await answerer.close()
        await server.close()


async def _loads_adapters(server: ModelServer) -> bool:
    try:
        await server.call("POST", "load_lora_adapter", {"lora_name": "", "lora_path": ""})
    except Refused as refused:
        # a name is missing, says the server that would load one; the other has no such path
        return refused.status not in (httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED)
    except Broken:
        return False
    return True


async def _version_for_strangers(url: str, connect_s: float) -> str:
    """The version that vLLM tells a caller without a key; "" where a proxy before it lets nobody ask."""
    root = url.rstrip("/").removesuffix("/v1")
    try:
        async with httpx.AsyncClient(timeout=connect_s) as stranger:
            told: Any = (await stranger.get(f"{root}/version")).raise_for_status().json()
    except (httpx.HTTPError, ValueError):
        return ""
    version = told.get("version") if isinstance(told, dict) else None
    return version if isinstance(version, str) else ""
