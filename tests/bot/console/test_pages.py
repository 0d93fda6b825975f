"""What all pages share: nothing foreign, no sideways scrolling, two languages, two looks."""

from __future__ import annotations

import gc
import sqlite3
import weakref
from contextlib import closing

import httpx
import pytest
from nicegui import Client
from playwright.async_api import Browser, Page, expect

from bot.console.app import BUILDERS
from bot.console.pages import PAGES
from tests.bot.console.conftest import Served, ask

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

PATHS = (*BUILDERS, "/no-such-page")
SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


async def test_the_tests_here_walk_every_page_that_the_console_has(served: Served) -> None:
    assert set(Client.page_routes.values()) <= set(PATHS)


async def test_a_phone_never_scrolls_sideways_in_polish(browser: Browser, served: Served) -> None:
    await served.waiting("A very long word: " + "ab" * 300, question="And `a_long_name`: " + "x" * 300)
    await served.assembly.add_adapter("a-name-as-long-as-a-community-might-well-choose-one")
    context = await browser.new_context(
        base_url=served.url, locale="pl-PL", viewport={"width": 360, "height": 740}
    )
    page = await context.new_page()
    for path in PATHS:
        await page.goto(path)
        await expect(page.get_by_role("button", name="Menu")).to_be_visible()
        assert await page.evaluate(SIDEWAYS) == 0, path
    await context.close()


async def test_a_phone_has_the_pages_behind_a_button_that_the_keyboard_opens_and_closes(
    browser: Browser, served: Served
) -> None:
    context = await browser.new_context(
        base_url=served.url, locale="en-GB", viewport={"width": 390, "height": 844}
    )
    page = await context.new_page()
    await page.goto("/")
    review = page.locator("#pages").get_by_role("link", name="Review")
    await expect(page.get_by_role("button", name="Menu")).to_be_visible()
    await expect(review).to_be_hidden()
    await page.get_by_role("button", name="Menu").focus()
    await page.keyboard.press("Enter")
    await expect(review).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(review).to_be_hidden()
    await page.get_by_role("button", name="Menu").click()
    await review.click()
    await expect(page.get_by_role("heading", name="Review", exact=True)).to_be_visible()
    await context.close()


async def test_every_page_in_the_list_is_built_and_every_page_built_is_in_the_list() -> None:
    listed = {page.path for page in PAGES}
    assert listed <= {path.split("/{")[0] for path in BUILDERS}
    assert {path for path in BUILDERS if "{" not in path} <= listed


async def test_no_page_asks_anything_of_another_host(page: Page, served: Served) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url.replace("ws://", "http://")))
    for path in PATHS:
        await page.goto(path)
        await expect(page.locator("#pages").get_by_role("link", name="Review")).to_be_visible()
    await page.goto("/")
    await ask(page, "Do you call home?")
    assert asked and [url for url in asked if not url.startswith((served.url, "data:"))] == []


async def test_no_page_is_kept_from_its_own_scripts_and_none_runs_a_strangers(
    page: Page, served: Served
) -> None:
    refused: list[str] = []
    page.on("console", lambda said: refused.append(said.text) if "Content Security" in said.text else None)
    for path in PATHS:
        await page.goto(path)
        await expect(page.get_by_role("main")).to_be_visible()
    assert refused == []
    await page.evaluate(
        """document.body.insertAdjacentHTML('beforeend', '<img src="/x" onerror="window.ran = 1">');
        document.body.append(Object.assign(document.createElement('script'), {text: 'window.ran = 2'}))"""
    )
    await page.wait_for_function("[...document.images].every(one => one.complete)")
    assert await page.evaluate("window.ran") is None and len(refused) == 2


async def test_an_unknown_page_says_so_and_leads_back(page: Page) -> None:
    answer = await page.goto("/no-such-page")
    assert answer is not None and answer.status == 404
    await expect(page.get_by_role("heading", name="There is no such page.")).to_be_visible()
    await page.get_by_role("link", name="Back to the chat").click()
    await expect(page.get_by_role("heading", name="What would you like to know?")).to_be_visible()


async def test_a_page_that_fails_says_so_in_the_readers_language_and_leads_on(
    browser: Browser, served: Served
) -> None:
    context = await browser.new_context(base_url=served.url, locale="pl-PL")
    page = await context.new_page()
    assert served.database.file is not None
    with closing(sqlite3.connect(served.database.file)) as connection:
        connection.execute("ALTER TABLE audit RENAME TO audit_away")
        answer = await page.goto("/audit?before=3")
        connection.execute("ALTER TABLE audit_away RENAME TO audit")
    assert answer is not None and answer.status == 500
    await expect(page.get_by_role("heading", name="Nie udało się pokazać tej strony")).to_be_visible()
    await page.get_by_role("link", name="Spróbuj ponownie").click()
    await expect(page.get_by_role("heading", name="Dziennik", level=1)).to_be_visible()
    await expect(page.locator("#popup")).to_contain_text("Utracono połączenie")
    await context.close()


async def test_the_language_follows_the_browser_until_another_is_chosen(
    browser: Browser, served: Served
) -> None:
    context = await browser.new_context(base_url=served.url, locale="pl-PL")
    page = await context.new_page()
    await page.goto("/")
    await expect(page.get_by_role("heading", name="Czego chcesz się dowiedzieć?")).to_be_visible()
    await expect(page.locator("html")).to_have_attribute("lang", "pl")
    await page.get_by_role("button", name="English").click()
    await expect(page.get_by_role("heading", name="What would you like to know?")).to_be_visible()
    await page.goto("/review")
    await expect(page.get_by_role("heading", name="Review", exact=True)).to_be_visible()
    await context.close()


async def test_the_look_is_chosen_and_stays(page: Page) -> None:
    await page.goto("/")
    await page.get_by_role("button", name="Look: as the system").click()
    # at once: between a mouse's press and release the page may still be putting the new label in
    await page.get_by_role("button", name="Look: light").dispatch_event("click")
    await expect(page.locator("body.body--dark")).to_be_visible()
    await page.wait_for_function("document.cookie.includes('dark')")  # it comes a moment after the look
    await page.reload()
    await expect(page.locator("body.body--dark")).to_be_visible()
    await expect(page.get_by_role("button", name="Look: dark")).to_be_visible()


async def test_a_page_that_is_left_is_freed_without_a_search_for_garbage(served: Served) -> None:
    """The search held fifty people up for a second once some hundred pages had been left."""
    async with httpx.AsyncClient(base_url=served.url) as client:
        await client.get("/overview", headers={"Accept": "text/html"})
    left = [*Client.instances.values()][-1]
    looks = [weakref.ref(element.props) for element in left.elements.values()]
    gc.disable()
    try:
        left.delete()
        alive = [look for look in looks if look() is not None]
        assert len(alive) < len(looks) / 10
    finally:
        gc.enable()


async def test_the_running_console_refuses_foreign_hosts_and_pages(served: Served) -> None:
    async with httpx.AsyncClient(base_url=served.url) as client:
        assert (await client.get("/", headers={"Host": "evil.example"})).status_code == 403
        live = "/_nicegui_ws/socket.io/?EIO=4&transport=polling"
        assert (await client.get(live, headers={"Origin": "https://evil.example"})).status_code == 403
        assert (await client.get(live, headers={"Origin": served.url})).status_code == 200


async def test_a_page_that_is_sent_compressed_has_the_nonce_of_its_policy_in_its_scripts(
    served: Served,
) -> None:
    """It had none where NiceGUI compressed pages, which it does not under pytest: no script ran."""
    async with httpx.AsyncClient(base_url=served.url) as client:
        answer = await client.get("/", headers={"Accept": "text/html", "Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    nonce = answer.headers["Content-Security-Policy"].partition("'nonce-")[2].partition("'")[0]
    assert answer.text.count("<script") == answer.text.count(f'<script nonce="{nonce}"') > 0
