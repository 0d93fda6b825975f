"""The knowledge page: a file dropped there is read, looked into, cited by the next answer, and removed."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.bot.console.conftest import Served, ask

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

RULES = (
    b"# Garden rules\n\n## Spring\n\nTomatoes are planted after the ice saints, on the sixteenth of May.\n"
)


async def test_a_dropped_file_is_cited_by_the_next_answer_and_gone_when_removed(
    page: Page, served: Served
) -> None:
    await page.goto("/knowledge")
    await expect(page.get_by_text("There are no documents yet")).to_be_visible()
    file = {"name": "rules.md", "mimeType": "text/markdown", "buffer": RULES}
    await page.locator("input[type=file]").set_input_files(file)  # type: ignore[arg-type]
    await expect(page.get_by_text("is in: 1 passage")).to_be_visible()
    await page.get_by_role("button", name="Look inside").click()
    await expect(page.get_by_role("dialog").get_by_text("the ice saints")).to_be_visible()
    await page.get_by_role("button", name="Close").click()

    await page.goto("/")
    answer = await ask(page, "When are tomatoes planted?")
    source = answer.get_by_role("group").filter(has_text="Garden rules › Spring")
    await expect(source.get_by_text("the ice saints")).not_to_be_visible()
    await source.get_by_text("Garden rules › Spring").click()
    await expect(source.get_by_text("the ice saints")).to_be_visible()
    await page.reload()
    await expect(page.get_by_text("Garden rules › Spring")).to_be_visible()

    await page.goto("/knowledge")
    await page.locator("input[type=file]").set_input_files(file)  # type: ignore[arg-type]
    told = page.get_by_text("Garden rules has not changed.")
    await expect(told).to_be_visible()
    await page.get_by_role("button", name="Remove").click()
    await expect(page.get_by_text("There are no documents yet")).to_be_visible()
    await expect(told).to_have_count(0)
    await page.goto("/")
    answer = await ask(page, "When are tomatoes planted again?")
    await expect(answer.get_by_text("Garden rules")).to_have_count(0)


async def test_what_cannot_be_read_is_named_with_its_reason(page: Page, served: Served) -> None:
    await page.goto("/knowledge")
    picture = {"name": "leaf.png", "mimeType": "image/png", "buffer": b"\x89PNG\r\n\x1a\n" + bytes(64)}
    await page.locator("input[type=file]").set_input_files(picture)  # type: ignore[arg-type]
    await expect(page.get_by_text("leaf.png").first).to_be_visible()
    await page.get_by_role("textbox", name="Address").fill("http://127.0.0.1/rules")
    await page.get_by_role("button", name="Add").click()
    await expect(page.get_by_text("private network")).to_be_visible()
