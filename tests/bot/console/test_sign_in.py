"""The console where people sign in: who gets in, which paths each role reaches, and how it ends."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio
from nicegui import app as pages
from oidc_provider_mock import User, run_server_in_thread
from playwright.async_api import Browser, expect
from pydantic import SecretStr
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bot.access import sign_in
from bot.access.actor import Actor, Role
from bot.console.access import OPEN, Gate, right_of
from bot.console.app import console_app
from bot.console.context import Console
from bot.console.sessions import SESSION_COOKIE, Sessions
from bot.core import Core
from bot.settings import OidcSettings
from feedback import journal
from feedback import sign_in as tokens
from feedback.database import Database
from feedback.journal import Answered
from feedback.tables import Community, now
from tests.bot.assembly import Assembly
from tests.bot.console.conftest import HOME
from tests.bot.console.test_accessibility import faults
from tests.doubles.retrainer import Retrainer
from tests.loopback import serving

pytestmark = [pytest.mark.asyncio(loop_scope="session")]
HTML = {"Accept": "text/html"}


@dataclass
class Office:
    """A console that people sign in to, with two communities."""

    url: str
    gate: Gate
    core: Core
    here: int
    elsewhere: int

    async def link(self, role: Role, community: int | None, name: str = "ada") -> str:
        """The token of a link for somebody of that role."""
        who = Actor("discord", name, role, community)
        return urlsplit(
            await sign_in.link(self.core.database, self.core.console_url, who, external_id="1001")
        ).fragment

    async def token(self, role: Role, community: int | None = None, name: str = "ada") -> str:
        """The cookie of somebody who has signed in."""
        link = await self.link(role, community, name)
        async with self.core.database.session() as session:
            return await tokens.redeem(session, link) or ""

    async def vouched_for(self, client: httpx.AsyncClient, name: str) -> httpx.Response:
        """What the console says when the provider sends somebody back whom it vouches for."""
        away = await client.get("/sign-in/oidc/go")
        async with httpx.AsyncClient() as elsewhere:
            back = await elsewhere.post(away.headers["location"], data={"sub": name})
        return await client.get(back.headers["location"].removeprefix(self.core.console_url))

    def client(self, token: str = "") -> httpx.AsyncClient:
        """A browser that brings that cookie."""
        cookies = {SESSION_COOKIE: token} if token else {}
        return httpx.AsyncClient(base_url=self.url, cookies=cookies, timeout=60)


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """The issuer of a team's accounts: ada may do everything, mo moderates one community, eve nothing."""
    groups = {"ada": ["staff", "ops"], "mo": "helpers", "eve": ["staff"]}
    users = [User(sub=name, claims={"groups": of}) for name, of in groups.items()]
    with run_server_in_thread(user_claims=users) as server:
        yield f"http://localhost:{server.server_port}"


@pytest_asyncio.fixture(loop_scope="session")
async def office(
    tmp_path: Path, sqlite_template: Path, model_folder: Path, provider: str
) -> AsyncIterator[Office]:
    record = shutil.copy(sqlite_template, tmp_path / "record.db")
    assembly = Assembly(Database(f"sqlite:///{record}"), tmp_path, model_folder)
    core = replace(assembly.core, console_url="http://127.0.0.1")
    async with core.database.session() as session:
        rows = [Community(platform="discord", external_id=name, name=name) for name in ("here", "elsewhere")]
        session.add_all(rows)
        await session.flush()
        here, elsewhere = (row.id or 0 for row in rows)
    console = Console(core=core, assistant=assembly.assistant, community=HOME, retraining=Retrainer())
    oidc = OidcSettings(
        issuer=provider,
        client_id="thumbloop",
        client_secret=SecretStr("secret"),
        name="the team's accounts",
        roles=("ops=operator", "helpers=moderator:discord:here"),
    )
    gate = console_app(console, oidc=oidc)
    async with serving(gate, lifespan="on") as url:
        yield Office(url, gate, core, here, elsewhere)
    await core.supervisor.stop()
    await assembly.answerer.close()
    await assembly.database.close()


async def test_a_stranger_is_led_to_the_sign_in_and_gets_nothing_else(office: Office) -> None:
    async with office.client() as client:
        page = await client.get("/review", headers=HTML)
        assert (page.status_code, page.headers["location"]) == (303, "/sign-in")
        for path in ("/", "/adapters", "/reports/1", "/_nicegui/auto/static/x.js", "/made-up"):
            assert (await client.get(path)).status_code == 401
        shown = await client.get("/sign-in", headers=HTML | {"Accept-Language": "pl"})
        assert shown.status_code == 200
        assert "Zaloguj" in shown.text and "/console" in shown.text
        assert "unsafe-eval" not in shown.headers["content-security-policy"]
        assert (await client.get("/healthz")).status_code == 200


async def test_a_teams_account_opens_what_its_groups_may_and_no_more(office: Office) -> None:
    async with office.client() as operator, office.client() as moderator, office.client() as nobody:
        assert "the team&#x27;s accounts" in (await operator.get("/sign-in")).text
        assert (await office.vouched_for(operator, "ada")).headers["location"] == "/"
        assert (await operator.get("/members")).status_code == 200
        await office.vouched_for(moderator, "mo")
        assert [(await moderator.get(path)).status_code for path in ("/review", "/runs")] == [200, 403]
        refused = await office.vouched_for(nobody, "eve")
        assert refused.status_code == 403 and "opens nothing here" in refused.text
        assert (await nobody.get("/")).status_code == 401
    async with office.core.database.session(read_only=True) as session:
        rows = {row.role: row for row in await tokens.open_sessions(session) if not row.external_id}
    assert (rows["operator"].platform, rows["operator"].community_id) == ("oidc", None)
    assert (rows["moderator"].platform, rows["moderator"].community_id) == ("discord", office.here)


async def test_what_a_provider_sends_back_opens_only_the_browser_that_asked_and_once(office: Office) -> None:
    async with office.client() as asker, office.client() as thief:
        away = await asker.get("/sign-in/oidc/go")
        assert "code_challenge_method=S256" in away.headers["location"]
        async with httpx.AsyncClient() as elsewhere:
            back = await elsewhere.post(away.headers["location"], data={"sub": "ada"})
        returned = back.headers["location"].removeprefix(office.core.console_url)
        assert (await thief.get(returned)).status_code == 403
        assert (await asker.get(returned)).status_code == 303
        assert (await asker.get(returned)).status_code == 403


async def test_a_cookie_that_nobody_was_given_signs_nobody_in(office: Office) -> None:
    async with office.client("made-up") as client:
        assert (await client.get("/")).status_code == 401


async def test_a_link_is_used_by_the_press_of_the_button_and_once(office: Office) -> None:
    link = await office.link("moderator", office.here)
    async with office.client() as client, office.client() as other:
        entered = await client.post("/sign-in", data={"token": link})
        assert (entered.status_code, entered.headers["location"]) == (303, "/")
        cookie = entered.headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=lax" in cookie
        assert (await client.get("/")).status_code == 200
        again = await other.post("/sign-in", data={"token": link})
        assert again.status_code == 403
        assert "used already" in again.text


async def test_who_tries_many_links_waits(office: Office) -> None:
    link = await office.link("moderator", office.here)
    async with httpx.AsyncClient(
        base_url=office.url, transport=httpx.AsyncHTTPTransport(local_address="127.0.0.9")
    ) as client:
        tried = [(await client.post("/sign-in", data={"token": f"{n}"})).status_code for n in range(12)]
        assert tried == [403] * 10 + [429] * 2
        assert (await client.post("/sign-in", data={"token": link})).status_code == 429
    async with office.client() as client:  # nobody else is kept out by it
        assert (await client.post("/sign-in", data={"token": link})).status_code == 303


PATHS: dict[str, set[str]] = {
    "/": {"member", "moderator", "administrator", "operator here", "operator"},
    "/sessions": {"member", "moderator", "administrator", "operator here", "operator"},
    "/review": {"moderator", "administrator", "operator here", "operator"},
    "/knowledge": {"moderator", "administrator", "operator here", "operator"},
    "/overview": {"moderator", "administrator", "operator here", "operator"},
    "/turns/1": {"operator"},
    "/adapters/community@1": {"administrator", "operator here", "operator"},
    "/datasets": {"operator"},
    "/datasets/community@1": {"operator"},
    "/datasets/community@1/train.csv": {"operator"},
    "/runs": {"administrator", "operator here", "operator"},
    "/runs/1": {"administrator", "operator here", "operator"},
    "/adapters": {"administrator", "operator here", "operator"},
    "/reports/1": {"operator"},
    "/made-up": set(),
}
"""Which roles reach a path; an operator "here" is one of a single community."""


@pytest.mark.parametrize("who", ["member", "moderator", "administrator", "operator here", "operator"])
async def test_each_role_reaches_its_own_paths_and_no_other(office: Office, who: str) -> None:
    role: Role = who.split()[0]  # type: ignore[assignment]
    token = await office.token(role, None if who == "operator" else office.here)
    async with office.client(token) as client:
        reached = {path for path in PATHS if (await client.get(path)).status_code != 403}
        refused = await client.get("/made-up", headers=HTML | {"Accept-Language": "pl"})
    assert reached == {path for path, roles in PATHS.items() if who in roles}
    assert "nie jest dla Ciebie" in refused.text and "Wróć do czatu" in refused.text


async def test_every_route_there_is_stands_in_the_table_of_rights(office: Office) -> None:
    """A new page without a line in the table is refused to everybody, and fails here."""
    routes = [*office.gate.app.routes, *pages.routes]  # type: ignore[attr-defined]
    listed = {route.path.split("{")[0].rstrip("/") or "/" for route in routes if hasattr(route, "path")}
    for path in listed - set(OPEN):
        right_of(path)
    assert {"/", "/review", "/adapters", "/sessions", "/reports", "/sign-out", "/_nicegui_ws"} <= listed


async def test_a_moderator_sees_their_own_communitys_queue_only(office: Office, browser: Browser) -> None:
    async with office.core.database.session() as session:
        for community, text in ((office.here, "Mine?"), (office.elsewhere, "Theirs?")):
            conversation = await journal.conversation(session, community, "a channel")
            asked = await journal.ask(
                session,
                community_id=community,
                conversation_id=conversation.id or 0,
                member_id=None,
                external_id=text,
                question=text,
                mode="default",
                language="en",
            )
            answered = Answered(answer="Yes.", mode="default", language="en", base_model="tiny")
            await journal.record_answer(session, asked.turn.id or 0, answered)
    token = await office.token("moderator", office.here)
    context = await browser.new_context(base_url=office.url)
    await context.add_cookies([{"name": SESSION_COOKIE, "value": token, "url": office.url}])
    page = await context.new_page()
    await page.goto("/review")
    await expect(page.get_by_text("Mine?")).to_be_visible()
    await expect(page.get_by_text("Waiting: 1")).to_be_visible()
    await expect(page.get_by_role("link", name="Adapters")).to_have_count(0)
    await page.keyboard.press("a")
    await expect(page.get_by_text("Waiting: 0")).to_be_visible()
    await expect(page.get_by_text("Theirs?")).to_have_count(0)
    await context.close()


async def test_a_link_opened_in_a_browser_signs_in_and_the_button_signs_out(
    office: Office, browser: Browser
) -> None:
    link = await office.link("member", office.here)
    context = await browser.new_context(base_url=office.url, locale="en-GB")
    page = await context.new_page()
    await page.goto("/sign-in")
    await page.goto(f"/sign-in#{link}")  # in the same tab: the page is not loaded anew
    await expect(page).to_have_url(f"{office.url}/sign-in")  # the secret does not stay in the address
    assert await faults(page) == []
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("textbox", name="Ask something")).to_be_visible()
    await expect(page.get_by_role("link", name="Review")).to_have_count(0)
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_text("Say /console to the bot")).to_be_visible()
    await page.goto("/")
    await expect(page).to_have_url(f"{office.url}/sign-in")
    await context.close()


async def test_a_socket_is_cut_off_when_its_session_is_ended_elsewhere(office: Office) -> None:
    token = await office.token("moderator", office.here)
    address = office.url.replace("http", "ws") + "/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
    cookie = {"Cookie": f"{SESSION_COOKIE}={token}"}
    async with connect(address, additional_headers=cookie) as socket:
        await socket.recv()
        somebody = await sign_in.signed_in(office.core, token)
        assert somebody is not None
        async with office.core.database.session() as session:
            await tokens.end(session, somebody.session_id, "revoked", by="terminal:root")
        with pytest.raises(ConnectionClosed):
            async with asyncio.timeout(60):
                while True:
                    await socket.recv()
    with pytest.raises(InvalidStatus):
        await connect(address, additional_headers=cookie)
    with pytest.raises(InvalidStatus):
        await connect(address)


async def test_a_session_ends_with_the_role_that_its_platform_vouched_for(office: Office) -> None:
    roles: dict[str, str | None] = {"1001": "moderator"}

    async def role_of(member: str, community: str) -> str | None:
        assert community == "here"
        return roles[member]

    token = await office.token("moderator", office.here, "grace")
    office.core.role_of["discord"] = role_of
    try:
        await sign_in.check_roles(office.core)
        assert await sign_in.signed_in(office.core, token) is not None
        roles["1001"] = "administrator"
        await sign_in.check_roles(office.core)
        somebody = await sign_in.signed_in(office.core, token)
        assert somebody is not None and somebody.actor.role == "administrator"
        roles["1001"] = "member"
        await sign_in.check_roles(office.core)
        assert await sign_in.signed_in(office.core, token) is None
        left = await office.token("member", office.here, "linus")
        roles["1001"] = None
        await sign_in.check_roles(office.core)
        assert await sign_in.signed_in(office.core, left) is None
    finally:
        del office.core.role_of["discord"]


async def test_a_platform_that_cannot_be_asked_signs_nobody_out(office: Office) -> None:
    async def role_of(member: str, community: str) -> str | None:
        raise ConnectionError

    token = await office.token("moderator", office.here, "alan")
    office.core.role_of["discord"] = role_of
    try:
        await sign_in.check_roles(office.core)
    finally:
        del office.core.role_of["discord"]
    assert await sign_in.signed_in(office.core, token) is not None


async def test_a_session_looked_up_a_moment_ago_is_not_looked_up_again_for_every_file(office: Office) -> None:
    sessions = Sessions(office.core)
    token = await office.token("member", office.here)
    first = await sessions.find(token)
    assert first is not None
    assert await sessions.find(token) is first


async def test_a_request_that_finds_its_session_ended_cuts_its_sockets_off_too(office: Office) -> None:
    sessions = Sessions(office.core, remembered_s=0)
    token = await office.token("member", office.here, "donald")
    somebody = await sessions.find(token)
    assert somebody is not None
    with sessions.socket_of(somebody) as ended:
        async with office.core.database.session() as session:
            await tokens.end(session, somebody.session_id, "revoked", by="terminal:root")
        assert await sessions.find(token) is None
        assert ended.is_set()


async def test_watching_over_a_session_does_not_count_as_using_it(office: Office) -> None:
    sessions = Sessions(office.core)
    token = await office.token("member", office.here, "frances")
    assert await sessions.find(token) is not None
    long_ago = now() - timedelta(hours=1)
    async with office.core.database.session() as session:
        row = await tokens.find(session, token)
        assert row is not None
        row.seen_at = long_ago
        session.add(row)
    await sessions.cut_off_ended()
    async with office.core.database.session(read_only=True) as session:
        row = await tokens.find(session, token)
    assert row is not None and row.seen_at == long_ago


async def test_somebody_ends_their_own_sessions_and_sees_no_other(office: Office, browser: Browser) -> None:
    token = await office.token("moderator", office.here, "barbara")
    await office.token("administrator", office.here, "edsger")
    await office.token("moderator", office.here, "barbara")
    context = await browser.new_context(base_url=office.url, locale="en-GB")
    await context.add_cookies([{"name": SESSION_COOKIE, "value": token, "url": office.url}])
    page = await context.new_page()
    await page.goto("/sessions")
    await expect(page.get_by_role("row")).to_have_count(2)
    await expect(page.get_by_text("edsger")).to_have_count(0)
    other = page.get_by_role("row").filter(has_not_text="this browser")
    await other.get_by_role("button").click()
    await expect(page.get_by_role("row")).to_have_count(1)
    await context.close()
