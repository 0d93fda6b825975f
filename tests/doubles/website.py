"""A website on this machine: pages with ETags, robots.txt, redirects; it notes what was asked of it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.loopback import serving


@dataclass
class Page:
    """What stands at a path; without `kind` the answer names no content type."""

    body: bytes
    kind: str = "text/html; charset=utf-8"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    never_ends: bool = False


class Website:
    """Serves `pages` by path; `asked` lists the paths asked for, `unchanged` those answered by 304."""

    def __init__(self, **pages: str) -> None:
        self.pages: dict[str, Page] = {}
        self.asked: list[str] = []
        self.unchanged: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""
        for name, text in pages.items():
            self.put(f"/{name}", text)

    def put(self, path: str, text: str | bytes, **more: Any) -> None:
        """Let that stand at `path`; {url} in a text is the site's own."""
        body = text if isinstance(text, bytes) else text.replace("{url}", self.url).encode()
        self.pages[path] = Page(body, **more)

    def redirect(self, path: str, to: str, status: int = 302) -> None:
        """Let `path` lead to another address."""
        self.pages[path] = Page(b"", status=status, headers={"Location": to})

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """The ASGI application."""
        path = scope["path"]
        sent = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.asked.append(path)
        self.headers.append(sent)
        page = self.pages.get(path, Page(b"nothing here", status=404))
        tag = f'"{hashlib.sha256(page.body).hexdigest()[:16]}"'
        headers = {"ETag": tag, **page.headers}
        if page.kind:
            headers["Content-Type"] = page.kind
        status, body = page.status, page.body
        if status == 200 and sent.get("if-none-match") == tag:
            self.unchanged.append(path)
            status, body = 304, b""
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            }
        )
        await send({"type": "http.response.body", "body": body, "more_body": page.never_ends})
        if page.never_ends:
            await asyncio.Event().wait()


@asynccontextmanager
async def online(site: Website) -> AsyncIterator[Website]:
    """The site, reachable at `site.url` inside the block."""
    async with serving(site) as url:
        site.url = url
        yield site
