"""A model hub on this machine: the few addresses of the hub's HTTP interface that fetching a model uses."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

COMMIT: Final = "5ba1e" + "0" * 35


class Hub:
    """Serves one folder as the repository `repository`; what is in `broken` cannot be fetched from it."""

    def __init__(self, repository: str, folder: Path) -> None:
        self.repository = repository
        self.folder = folder
        self.broken: set[str] = set()
        self.fetched: list[str] = []
        self.url = ""

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for a path of the interface."""
        api = f"/api/models/{self.repository}"
        if path.startswith(f"{api}/revision/"):
            return 200, {}, json.dumps({"id": self.repository, "sha": COMMIT, "siblings": []}).encode()
        if path.startswith(f"{api}/tree/"):
            return 200, {}, json.dumps([self._entry(file) for file in sorted(self.folder.iterdir())]).encode()
        name = path.removeprefix(f"/{self.repository}/resolve/{COMMIT}/")
        if name in self.broken or not (self.folder / name).is_file():
            status = 400 if name in self.broken else 404
            return status, {"X-Error-Code": "RepoNotFound"} if status == 404 else {}, b""
        body = (self.folder / name).read_bytes()
        return 200, {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha256(body).hexdigest()}"'}, body

    def _entry(self, file: Path) -> dict[str, Any]:
        body = file.read_bytes()
        return {
            "type": "file",
            "path": file.name,
            "size": len(body),
            "oid": hashlib.sha256(body).hexdigest(),
        }


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve `hub` at `hub.url` while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._reply(with_body=False)

        def do_GET(self) -> None:
            hub.fetched.append(unquote(urlsplit(self.path).path).rpartition("/")[2])
            self._reply(with_body=True)

        def _reply(self, *, with_body: bool) -> None:
            status, headers, body = hub.answer(unquote(urlsplit(self.path).path))
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    # how often it looks whether it should stop, in seconds
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
