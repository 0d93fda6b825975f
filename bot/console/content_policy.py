"""What browsers may load and run on the console's pages: nothing of elsewhere, and only our own scripts.

Every page that is sent gets a nonce of its own, which its scripts carry and the policy names (CSP level 3).
So neither an event handler in HTML nor a script that got into the page later runs. NiceGUI leaves open
'unsafe-eval', for Vue compiles templates and NiceGUI evaluates handlers in the browser, and inline styles.
"""

from __future__ import annotations

import base64
import secrets
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send

HEADER: Final = "Content-Security-Policy"
_POLICY: Final = (
    "default-src 'self'; script-src 'self'{scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_SCRIPT: Final = b"<script"


def sending(send: Send) -> Send:
    """Send what an application answers over HTTP with the policy; a page that brings its own keeps it."""
    start: Message | None = None
    page: list[bytes] = []

    async def send_on(message: Message) -> None:
        nonlocal start
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            if HEADER not in headers and headers.get("content-type", "").startswith("text/html"):
                start = message  # its policy depends on what the whole page holds
                return
            headers.setdefault(HEADER, _POLICY.format(scripts=""))
        elif start is not None and message["type"] == "http.response.body":
            page.append(message.get("body", b""))
            if message.get("more_body"):
                return
            nonce = base64.b64encode(secrets.token_bytes(16)).decode()
            body = b"".join(page).replace(_SCRIPT, b'%s nonce="%s"' % (_SCRIPT, nonce.encode()))
            headers = MutableHeaders(scope=start)
            headers[HEADER] = _POLICY.format(scripts=f" 'nonce-{nonce}' 'unsafe-eval'")
            if "content-length" in headers:
                headers["content-length"] = str(len(body))
            await send(start)
            start = None
            message = {"type": "http.response.body", "body": body}
        await send(message)

    return send_on
