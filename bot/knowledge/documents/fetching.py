"""What stands at an address: asked for politely, conditionally, and within limits.

robots.txt is respected (RFC 9309, by protego), with its delays; ETag and Last-Modified spare what has not
changed (RFC 9110); redirects are followed a few times. Leaves to others: which addresses may be connected to
(`addresses`), and what the contents are (`sandbox`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.metadata import version
from types import TracebackType
from typing import Final, Self

import httpx
from protego import Protego

from bot.errors import NotFetched
from bot.knowledge.documents.addresses import CheckedTransport, Network, Resolver, look_up

AGENT: Final = "Thumbloop"
"""What robots.txt calls us."""
ROBOTS_BYTES: Final = 512 * 1024
"""How much of a robots.txt is read; RFC 9309 asks for at least 500 KiB."""
MOST_DELAY_SECONDS: Final = 30.0
"""The longest that robots.txt may have us wait between two pages."""
_TAKEN: Final = frozenset(
    {
        "application/atom+xml",
        "application/csv",
        "application/gzip",
        "application/octet-stream",
        "application/pdf",
        "application/rdf+xml",
        "application/rss+xml",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "application/x-gzip",
        "application/xhtml+xml",
        "application/xml",
        "",
    }
)
"""Content types beside text/*; the content itself says in the end what it is."""
_MIB: Final = 1024 * 1024
_NOT_MODIFIED: Final = 304
_TOO_MANY_REQUESTS: Final = 429
_GONE: Final = (404, 410)


@dataclass(frozen=True)
class FetchLimits:
    """MiB of one page; seconds for it, redirects and all; redirects; networks allowed though private."""

    mib: int = 64
    seconds: float = 60.0
    redirects: int = 5
    allowed_networks: tuple[Network, ...] = ()


@dataclass(frozen=True)
class Fetched:
    """What an address held: at `url` in the end, with what the server said for the next time."""

    url: str
    content: bytes
    etag: str = ""
    last_modified: str = ""


class Fetcher:
    """Fetches pages, one host at a time as slowly as its robots.txt asks. An asynchronous context manager."""

    def __init__(
        self,
        limits: FetchLimits | None = None,
        *,
        resolver: Resolver = look_up,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits or FetchLimits()
        self._sleep = sleep
        self._clock = clock
        self._client = httpx.AsyncClient(
            transport=CheckedTransport(self._limits.allowed_networks, resolver),
            headers={"User-Agent": f"{AGENT}/{version('thumbloop')}"},
            timeout=httpx.Timeout(self._limits.seconds, connect=min(10.0, self._limits.seconds)),
            trust_env=False,  # through a proxy nobody could say which address is reached
        )
        self._robots: dict[str, Protego] = {}
        self._last: dict[str, float] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def fetch(self, address: str, *, etag: str = "", last_modified: str = "") -> Fetched | None:
        """What stands there; None when it is what it was by `etag` or `last_modified`. Raises NotFetched."""
        conditions = {
            name: value
            for name, value in (("If-None-Match", etag), ("If-Modified-Since", last_modified))
            if value
        }
        url = parsed(address)
        for _ in range(self._limits.redirects + 1):
            await self._ask_robots(url)
            response, content = await self._get(url, conditions, self._limits.mib * _MIB)
            if response.status_code == _NOT_MODIFIED and conditions:
                return None
            if not response.has_redirect_location:
                return _taken(url, response, content)
            url = _next(url, response)
        raise NotFetched(address, "redirects")

    async def _ask_robots(self, url: httpx.URL) -> None:
        """Wait as long as the host's robots.txt asks. Raises NotFetched when it asks to stay away."""
        origin = str(url.copy_with(raw_path=b"/", fragment=None))
        if origin not in self._robots:
            try:
                self._robots[origin] = await self._robots_of(url)
            except NotFetched as error:
                raise NotFetched(str(url), error.why, error.detail) from None
        robots = self._robots[origin]
        if not robots.can_fetch(str(url), AGENT):
            raise NotFetched(str(url), "robots")
        delay = min(robots.crawl_delay(AGENT) or 0.0, MOST_DELAY_SECONDS)
        wait = self._last.get(origin, -MOST_DELAY_SECONDS) + delay - self._clock()
        if delay and wait > 0:
            await self._sleep(wait)
        self._last[origin] = self._clock()

    async def _robots_of(self, url: httpx.URL) -> Protego:
        """The host's rules: without them all is allowed, where they are not to be had nothing (RFC 9309)."""
        at = url.copy_with(raw_path=b"/robots.txt", fragment=None)
        for _ in range(self._limits.redirects + 1):
            response, content = await self._get(at, {}, ROBOTS_BYTES, cut=True)
            if not response.has_redirect_location:
                break
            at = _next(at, response)
        if response.is_server_error:
            raise NotFetched(str(url), "unreachable", f"its robots.txt: HTTP {response.status_code}")
        return Protego.parse(content.decode("utf-8", "replace") if response.is_success else "")

    async def _get(
        self, url: httpx.URL, headers: dict[str, str], most: int, *, cut: bool = False
    ) -> tuple[httpx.Response, bytes]:
        """One request, its body read as far as it is wanted. Raises NotFetched."""
        try:
            async with (
                asyncio.timeout(self._limits.seconds),
                self._client.stream("GET", url, headers=headers) as response,
            ):
                if not response.is_success:
                    return response, b""
                if not cut:
                    _refuse_by_head(url, response, most)
                parts, total = [], 0
                async for part in response.aiter_bytes():
                    total += len(part)
                    parts.append(part)
                    if total > most:
                        if cut:
                            break
                        raise NotFetched(str(url), "too large", f"at most {most // _MIB} MiB are fetched")
                return response, b"".join(parts)[:most]
        except (TimeoutError, httpx.TimeoutException):
            raise NotFetched(str(url), "too long", f"{self._limits.seconds:g} s") from None
        except httpx.HTTPError as error:
            raise NotFetched(str(url), "unreachable", str(error) or type(error).__name__) from None


def parsed(address: str) -> httpx.URL:
    """An address of the web, without fragment. Raises NotFetched."""
    try:
        url = httpx.URL(address.strip())
    except httpx.InvalidURL:
        raise NotFetched(address, "no address") from None
    if url.scheme not in ("http", "https") or not url.host or url.userinfo:
        raise NotFetched(address, "no address")
    return url.copy_with(fragment=None)


def _next(url: httpx.URL, response: httpx.Response) -> httpx.URL:
    """Where a redirect leads. Raises NotFetched."""
    try:
        return parsed(str(url.join(response.headers["Location"])))
    except (httpx.InvalidURL, ValueError):
        raise NotFetched(str(url), "redirects", "to what is no address") from None


def _refuse_by_head(url: httpx.URL, response: httpx.Response, most: int) -> None:
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if not kind.startswith("text/") and kind not in _TAKEN:
        raise NotFetched(str(url), "content type", kind)
    length = response.headers.get("Content-Length", "")
    if length.isdigit() and int(length) > most:
        raise NotFetched(str(url), "too large", f"at most {most // _MIB} MiB are fetched")


def _taken(url: httpx.URL, response: httpx.Response, content: bytes) -> Fetched:
    if response.status_code in _GONE:
        raise NotFetched(str(url), "gone", f"HTTP {response.status_code}")
    if not response.is_success:
        later = response.is_server_error or response.status_code == _TOO_MANY_REQUESTS
        raise NotFetched(str(url), "unreachable" if later else "status", f"HTTP {response.status_code}")
    headers = response.headers
    return Fetched(str(url), content, headers.get("ETag", ""), headers.get("Last-Modified", ""))
