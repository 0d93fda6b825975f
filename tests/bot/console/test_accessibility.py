"""axe-core looks at every page, in both looks, wide and narrow, in both languages, and finds nothing.

By the rules of WCAG 2.2, levels A and AA, as far as a program can tell.
"""

from __future__ import annotations

from typing import Literal

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, ViewportSize, expect

from bot.console.app import BUILDERS
from tests.bot.console.conftest import Served, ask
from tests.rounds import open_round
from tests.training import finished

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]
PATHS = (*BUILDERS, "/no-such-page")
WIDE, NARROW = ViewportSize(width=1280, height=900), ViewportSize(width=390, height=844)
WCAG = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}}


async def faults(page: Page) -> list[str]:
    """What axe finds on the page, once all that fades in is there."""
    await page.evaluate("Promise.all(document.getAnimations().map(one => one.finished.catch(() => 0)))")
    found = await Axe().run(page, options=WCAG)
    return [
        f"{page.url}: {rule['id']} ({rule['help']}): {node['target']} {node['html'][:200]}"
        for rule in found.response["violations"]
        for node in rule["nodes"]
    ]


async def furnish(served: Served) -> int:
    """Something to see on every page; the number of a run."""
    turns = await served.waiting("It is `eight` or **sixteen**.", "Nobody knows.", question="How large?")
    await open_round(served.database, turns, {"base": "Eight.", "candidate": "Eight, says {turn}."})
    await served.assembly.add_adapter("community")
    return await finished.run(served.database, state="rejected")


@pytest.mark.parametrize(
    ("viewport", "look", "locale"),
    [
        (WIDE, "light", "en-GB"),
        (WIDE, "dark", "pl-PL"),
        (NARROW, "light", "pl-PL"),
        (NARROW, "dark", "en-GB"),
    ],
)
async def test_axe_finds_nothing_on_any_page(
    browser: Browser, served: Served, viewport: ViewportSize, look: Literal["light", "dark"], locale: str
) -> None:
    run = await furnish(served)
    context = await browser.new_context(
        base_url=served.url, viewport=viewport, color_scheme=look, locale=locale, reduced_motion="reduce"
    )
    page = await context.new_page()
    found = []
    for path in PATHS:
        await page.goto(path.replace("{run}", str(run)))
        await expect(
            page.get_by_role("heading", level=1).or_(page.get_by_role("heading", level=2)).first
        ).to_be_visible()
        found += await faults(page)
    await context.close()
    assert found == []


async def test_axe_finds_nothing_in_a_conversation_and_its_form(page: Page, served: Served) -> None:
    await page.goto("/")
    answer = await ask(page, "Who may read this?")
    await answer.get_by_role("button", name="Not helpful").click()
    await expect(answer.get_by_label("What was wrong?")).to_be_visible()
    assert await faults(page) == []


async def test_axe_finds_nothing_beside_a_draft_and_in_the_editor(page: Page, served: Served) -> None:
    await furnish(served)
    await page.goto("/review")
    await expect(page.get_by_role("article")).to_be_visible()
    await page.keyboard.press("d")
    await expect(page.locator(".tl-suggested[aria-busy=false]")).to_be_visible()
    await page.keyboard.press("e")
    await expect(page.get_by_label("The answer it should have been")).to_be_visible()
    assert await faults(page) == []
