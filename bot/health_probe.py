"""`python -m bot.health_probe readyz`: ask the running service how it is; exit status 0 when it says 200.

For containers' and orchestrators' checks, so asking takes no longer than Python's start: the standard
library only, where the environment says it all, as in a container. Settings in `.env` or `thumbloop.toml`
cost a fifth of a second more.
"""

from __future__ import annotations

import json
import os
import sys
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

from feedback.errors import SettingsError

SECTION: Final = "THUMBLOOP_WEB"
PORT: Final = 8321
SETTINGS_FILES: Final = (".env", "thumbloop.toml")
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


def console_address() -> tuple[str, int]:
    """Where the console listens, by the settings. Raises SettingsError when they cannot be read."""
    said = {name.upper(): value for name, value in os.environ.items()}
    host, port = said.get(f"{SECTION}__HOST"), said.get(f"{SECTION}__PORT")
    elsewhere = SECTION in said or any(Path(file).exists() for file in SETTINGS_FILES)
    if (elsewhere and None in (host, port)) or not (port or "0").isdecimal():
        from bot.settings import load_settings

        web = load_settings().web
        return web.host, web.port
    return host or "", int(port or PORT)


def main() -> int:
    """Ask for the path that the command line names, `readyz` by default."""
    path = sys.argv[1] if len(sys.argv) > 1 else "readyz"
    try:
        host, port = console_address()
        well, said = ask(path, host, port)
    except SettingsError as error:
        well, said = False, str(error)
    except (OSError, HTTPException) as error:
        well, said = False, f"nothing answers on port {port} ({error})"
    print(said)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
