"""`python -m bot.health_probe readyz`: ask the running service how it is; exit status 0 when it says 200.

For containers' and orchestrators' checks: the standard library only, so that asking takes no longer than
Python's start. It knows the console's address from the environment, as a container does.
"""

from __future__ import annotations

import json
import os
import sys
from http.client import HTTPConnection, HTTPException
from typing import Final

PORT: Final = "8321"
ANYWHERE: Final = ("0.0.0.0", "::", "")
"""Addresses to listen on that are none to ask at."""
ANSWER_S: Final = 15.0


def ask(path: str, host: str, port: int) -> tuple[bool, str]:
    """Whether the service answers 200 to `path`, and what it says. Raises OSError when it does not answer."""
    connection = HTTPConnection("127.0.0.1" if host in ANYWHERE else host, port, timeout=ANSWER_S)
    try:
        connection.request("GET", f"/{path}")
        answer = connection.getresponse()
        return answer.status == 200, answer.read().decode(errors="replace")
    finally:
        connection.close()


def parts(host: str, port: int) -> list[dict[str, str]]:
    """The parts of the running service: of each its "name", its "state" and "why" that is not "ok".

    Raises OSError when nothing answers, ValueError when another program does.
    """
    try:
        _, said = ask("readyz", host, port)
        told = json.loads(said)["components"]
        return [{key: str(one[key]) for key in ("name", "state", "why")} for one in told]
    except (HTTPException, KeyError, TypeError) as error:
        raise ValueError(f"no Thumbloop answers on port {port}") from error


def main() -> int:
    """Ask for the path that the command line names, `readyz` by default."""
    path = sys.argv[1] if len(sys.argv) > 1 else "readyz"
    host = os.environ.get("THUMBLOOP_WEB__HOST", "")
    port = int(os.environ.get("THUMBLOOP_WEB__PORT", PORT))
    try:
        well, said = ask(path, host, port)
    except OSError as error:
        well, said = False, f"nothing answers on port {port} ({error})"
    print(said)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
