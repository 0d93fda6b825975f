"""The import page in a real browser: an export is dropped, looked at, brought in, and taken back."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import pytest
from playwright.async_api import FilePayload, Page, expect

from bot.uploads import FOLDER
from tests.bot.console.conftest import Served

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


def past() -> FilePayload:
    """The demo community's channel."""
    export = resources.files("bot.demo").joinpath("past.json").read_bytes()
    return {"name": "help.json", "mimeType": "application/json", "buffer": export}


def table(*lines: str) -> FilePayload:
    return {"name": "faq.csv", "mimeType": "text/csv", "buffer": "\n".join(lines).encode()}


async def drop(page: Page, *files: FilePayload) -> None:
    await page.goto("/import")
    await page.locator("input[type=file]").set_input_files(list(files))


async def import_it(page: Page) -> None:
    await page.get_by_role("button", name="Import", exact=True).click()


def uploads(served: Served) -> list[Path]:
    folder = served.assembly.core.data / FOLDER
    return list(folder.iterdir()) if folder.is_dir() else []


async def test_a_dropped_export_is_looked_at_agreed_to_brought_in_and_taken_back(
    page: Page, served: Served
) -> None:
    await drop(page, past())
    found = page.get_by_role("article")
    await expect(found).to_contain_text("Discord channel, DiscordChatExporter")
    start = found.get_by_role("button", name="Import", exact=True)
    await expect(start).to_be_disabled()
    assert await served.turns() == []
    await found.get_by_role("checkbox", name="The community agreed").click()
    await start.click()
    await expect(page.get_by_text("in the review")).to_be_visible()
    assert await served.turns() and uploads(served) == []
    row = page.get_by_role("row").filter(has_text="help.json")
    await expect(row).to_contain_text("in")

    await page.get_by_role("link", name="To the review").click()
    await expect(page.get_by_role("article")).to_contain_text("from imported talk")

    await page.goto("/import")
    await row.get_by_role("button", name="Take back").click()
    await page.get_by_role("dialog").get_by_role("button", name="Take back").click()
    await expect(row).to_contain_text("taken back")
    assert {turn.state for turn in await served.turns()} == {"erased"}


async def test_the_keys_of_a_table_that_nothing_fits_are_named_by_whoever_knows_them(
    page: Page, served: Served
) -> None:
    await drop(page, table("Frage;Antwort", "How do I water basil?;In the morning.", ";Never.", "a;b;c"))
    await expect(page.get_by_role("heading", name="Which key is which?")).to_be_visible()
    for field, key in (("Question", "Frage"), ("Answer", "Antwort")):
        await page.get_by_role("combobox", name=field, exact=True).click()
        await page.get_by_role("option", name=key, exact=True).click()
        await expect(page.get_by_role("option")).to_have_count(0)
    await page.get_by_role("button", name="Look again").click()
    found = page.get_by_role("article")
    await expect(found).to_contain_text("How do I water basil? → In the morning.")
    await found.get_by_text("Broken records").click()
    await expect(found).to_contain_text("line 4: 3 fields under 2 headers")
    await import_it(page)
    await expect(page.get_by_text("1 new pair is in the community faq")).to_be_visible()
    assert "In the morning." in [turn.answer for turn in await served.turns()]


async def test_what_is_nothing_known_is_said_and_can_be_discarded(page: Page, served: Served) -> None:
    await drop(page, {"name": "notes.json", "mimeType": "application/json", "buffer": b"[1, 2]"})
    await expect(page.get_by_role("alert")).to_contain_text("notes.json is nothing that Thumbloop knows")
    await page.get_by_role("button", name="Discard").click()
    await expect(page.get_by_role("alert")).to_have_count(0)
    assert uploads(served) == []


async def test_an_upload_waits_for_a_page_that_was_closed_meanwhile(page: Page, served: Served) -> None:
    rows = [{"prompt": f"How do I grow herb {number}?", "completion": "Slowly."} for number in range(3)]
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    await drop(page, {"name": "herbs.jsonl", "mimeType": "application/json", "buffer": text})
    await expect(page.get_by_role("article")).to_contain_text("3 records")
    await page.goto("/")
    await page.goto("/import")
    await expect(page.get_by_role("article")).to_contain_text("herbs.jsonl")
    await import_it(page)
    await expect(page.get_by_text("3 new pairs are in the community herbs")).to_be_visible()


async def test_several_files_are_looked_at_together(page: Page, served: Served) -> None:
    await drop(page, past(), table("question,answer", "How tall does dill grow?,A metre."))
    found = page.get_by_role("article")
    await expect(found).to_contain_text("Discord channel")
    await expect(found).to_contain_text("questions with answers")
    await found.get_by_role("button", name="Discard").click()
    await expect(found).to_have_count(0)
