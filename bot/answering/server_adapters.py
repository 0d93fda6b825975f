"""Which adapters a model server has, and how it gets those it lacks: vLLM's endpoints, or its own start.

A server knows an adapter as `name@version-hash` (`served_name`): what it caches under a name is never another
adapter's.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import structlog

from bot.answering.answerer import AdapterFiles
from bot.answering.model_server import Broken, ModelServer, Refused
from bot.errors import AdapterRefused
from bot.settings import RemoteSettings
from training.adapters.registry import served_name

_RANK: Final = re.compile(r"rank (\d+) is greater than max_lora_rank (\d+)")
_CAUSE: Final = re.compile(r"Worker failed with error '(.+)', please check", re.DOTALL)
_OF_AN_ADAPTER: Final = re.compile(r"lora|adapter", re.IGNORECASE)

log = structlog.get_logger(__name__)


@dataclass
class _Served:
    """An adapter as the server has it: whether it is ready there, and how many answers under way use it."""

    files: AdapterFiles | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    ready: bool = False
    users: int = 0


class ServerAdapters:
    """The adapters of one server."""

    def __init__(self, server: ModelServer, settings: RemoteSettings) -> None:
        self._server = server
        self._settings = settings
        self._adapters: defaultdict[str, _Served] = defaultdict(_Served)

    async def load(self, adapter: AdapterFiles) -> None:
        """Make `adapter` ready on the server. Raises AdapterRefused with the reason, AnsweringError."""
        name = name_of(adapter)
        served = self._adapters[name]
        served.files = adapter
        async with served.lock:
            if served.ready:
                return
            if not _lists(await self._server.models(), name):
                if self._settings.adapters == "at-start":
                    raise AdapterRefused(
                        adapter.version,
                        "the model server does not list it",
                        detail="start it with --lora-modules "
                        f"{name}={self._path_on_server(adapter)}, or set THUMBLOOP_REMOTE__ADAPTERS=runtime",
                    )
                await self._load_at_run_time(adapter, name)
            served.ready = True

    async def unload(self, adapter: AdapterFiles) -> None:
        """Give the adapter's memory on the server back once no answer under way uses it."""
        name = name_of(adapter)
        served = self._adapters.get(name)
        if served is None or not served.ready:
            return
        served.ready = False
        if self._settings.adapters == "at-start":
            return
        if served.users:
            await served.idle.wait()
        async with served.lock:
            if served.ready or served.users:
                return  # somebody asked for it again meanwhile
            try:
                await self._server.retried(
                    lambda: self._server.call("POST", "unload_lora_adapter", {"lora_name": name})
                )
            except (Broken, Refused) as fault:
                # gone already, as after a restart
                if not (isinstance(fault, Refused) and fault.status == httpx.codes.NOT_FOUND):
                    raise self._server.answering_error(fault) from fault

    def forget(self, adapter: AdapterFiles) -> None:
        """The server turned out not to have it any more: the next `load` brings it there anew."""
        self._adapters[name_of(adapter)].ready = False

    async def load_forgotten(self, cards: list[dict[str, Any]]) -> None:
        """Load again what was ready and is not in the server's list any more, as after its restart."""
        for name, served in list(self._adapters.items()):
            if served.ready and served.files is not None and not _lists(cards, name):
                served.ready = False
                log.warning("the model server has lost an adapter; it is loaded again", adapter=name)
                try:
                    await self.load(served.files)
                except AdapterRefused as refused:
                    log.error("the model server does not take an adapter again", reason=str(refused))

    @contextlib.contextmanager
    def in_use(self, adapter: AdapterFiles | None) -> Iterator[None]:
        """An answer is under way, with that adapter: it isn't unloaded meanwhile."""
        served = self._adapters[name_of(adapter)] if adapter else _Served()
        served.users += 1
        served.idle.clear()
        try:
            yield
        finally:
            served.users -= 1
            if not served.users:
                served.idle.set()

    async def _load_at_run_time(self, adapter: AdapterFiles, name: str) -> None:
        path = self._path_on_server(adapter)
        try:
            await self._server.retried(lambda: self._load_once(name, path))
        except Broken as broken:
            raise self._server.answering_error(broken) from broken
        except Refused as refused:
            if "already been loaded" in refused.message:
                return  # another process did: the name holds the content, so it is the same adapter
            log.warning("the model server refused an adapter", adapter=name, reason=str(refused))
            reason, detail = _why_refused(refused, name, path)
            raise AdapterRefused(adapter.version, reason, detail=detail) from refused

    async def _load_once(self, name: str, path: str) -> None:
        body = {"lora_name": name, "lora_path": path}
        try:
            await self._server.call("POST", "load_lora_adapter", body)
        except Broken as broken:
            # vLLM answers 500 to an adapter that does not suit it; the server is well, and would say so again
            if broken.status == httpx.codes.INTERNAL_SERVER_ERROR and _OF_AN_ADAPTER.search(broken.message):
                raise Refused(broken.status, broken.message) from broken
            raise

    def _path_on_server(self, adapter: AdapterFiles) -> str:
        """The adapter's folder as the server sees it."""
        if not self._settings.adapters_folder:
            return str(adapter.folder.absolute())
        root, version = self._settings.adapters_folder.rstrip("/"), adapter.version
        return f"{root}/{version.name}/{version.version}"


def name_of(adapter: AdapterFiles) -> str:
    """What servers call the adapter."""
    return served_name(adapter.version, adapter.content_hash)


def _lists(cards: list[dict[str, Any]], name: str) -> bool:
    return any(name in (card["id"], card.get("root")) for card in cards)


def _why_refused(refused: Refused, name: str, path: str) -> tuple[str, str]:
    """The reason, and what the operator is told beside it."""
    if rank := _RANK.search(refused.message):
        reason = f"its rank {rank[1]} is above the {rank[2]} that the model server takes"
        return reason, f"start vLLM with --max-lora-rank {rank[1]} or more"
    if cause := _CAUSE.search(refused.message):
        return "the model server does not take it", f"it says: {cause[1].partition('. ')[0].rstrip('.')}"
    if refused.status == httpx.codes.NOT_FOUND and name not in refused.message:
        return (
            "the model server loads none at run time",
            "start vLLM with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, "
            "or set THUMBLOOP_REMOTE__ADAPTERS=at-start",
        )
    return "the model server cannot load it", f"it looked in {path}; its log and ours say why"
