"""The chat in a real browser: ask, watch, vote, come back."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, Page, expect

from feedback import journal
from tests.bot.console.conftest import Served, ask

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

WATCH_GROWTH = """
window.seen = new Set();
new MutationObserver(() => {
  const prose = document.querySelector('.tl-answer .tl-prose');
  if (prose) window.seen.add(prose.textContent.length);
}).observe(document.body, {subtree: true, childList: true, characterData: true});
"""
HOSTILE = (
    '<img src=x onerror="window.stolen=1"><script>window.stolen=1</script> ${window.stolen=1} {{ stolen }}'
)


async def test_an_answer_grows_as_it_is_said_and_is_kept_with_who_said_it(page: Page, served: Served) -> None:
    adapter = await served.assembly.add_adapter(state="rejected")
    await page.goto("/")
    await page.evaluate(WATCH_GROWTH)
    answer = await ask(page, "What is a rank?")
    kept = (await served.turns())[-1]
    assert (kept.question, kept.state, kept.adapter_id) == ("What is a rank?", "answered", None)
    assert adapter.state == "rejected"
    assert "".join((await answer.locator(".tl-prose").inner_text()).split())
    await expect(answer.get_by_label("Answered by: base model")).to_be_visible()
    assert len(await page.evaluate("[...window.seen]")) > 2


async def test_an_answer_that_people_approved_word_for_word_is_not_called_the_models(
    page: Page, served: Served
) -> None:
    await page.goto("/")
    await ask(page, "Who wrote this?")
    async with served.database.session() as session:
        turn = await journal.find_turn(session, (await served.turns())[-1].id or 0)
        turn.answer_kind = "approved"
        session.add(turn)
    await page.reload()
    await expect(page.get_by_label("Answered by: written by people")).to_be_visible()


async def test_a_thumb_counts_changes_and_is_taken_back(page: Page, served: Served) -> None:
    await page.goto("/")
    answer = await ask(page, "Vote on me")
    turn = (await served.turns())[-1].id or 0
    up = answer.get_by_role("button", name="Helpful", exact=True)
    down = answer.get_by_role("button", name="Not helpful", exact=True)

    await up.click()
    await expect(up).to_have_attribute("aria-pressed", "true")
    assert [vote.value for vote in await served.votes(turn)] == [1]

    await down.click()
    await expect(down).to_have_attribute("aria-pressed", "true")
    await expect(up).to_have_attribute("aria-pressed", "false")
    assert [vote.value for vote in await served.votes(turn)] == [-1]

    await down.click()
    await expect(down).to_have_attribute("aria-pressed", "false")
    assert await served.votes(turn) == []


async def test_the_same_question_is_answered_once_more_on_request(page: Page, served: Served) -> None:
    await page.goto("/")
    answer = await ask(page, "Say that again")
    await answer.get_by_role("button", name="Regenerate").click()
    await expect(page.get_by_role("article")).to_have_count(2)
    await expect(page.get_by_role("article").last).to_have_attribute("aria-busy", "false")
    first, second = (await served.turns())[-2:]
    assert (second.question, second.regenerates_id) == ("Say that again", first.id)


async def test_a_thumb_down_asks_why_and_takes_a_better_answer(page: Page, served: Served) -> None:
    await page.goto("/")
    answer = await ask(page, "Say something wrong")
    await answer.get_by_role("button", name="Not helpful", exact=True).click()
    await answer.get_by_role("radio", name="Wrong facts").click()
    await answer.get_by_label("A better answer, if you know one").fill("The rank is the inner size.")
    await answer.get_by_role("button", name="Send feedback").click()
    await expect(page.get_by_text("Thank you. A moderator will see it.")).to_be_visible()
    await expect(answer.get_by_role("button", name="Send feedback")).to_be_hidden()
    vote = (await served.votes((await served.turns())[-1].id or 0))[0]
    told = (vote.value, vote.reason, vote.suggested_answer)
    assert told == (-1, "wrong facts", "The rank is the inner size.")


async def test_a_reload_shows_the_conversation_with_its_votes(page: Page) -> None:
    await page.goto("/")
    answer = await ask(page, "Will you remember me?")
    said = await answer.locator(".tl-prose").inner_text()
    await answer.get_by_role("button", name="Helpful", exact=True).click()
    await expect(answer.get_by_role("button", name="Helpful", exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )
    await page.reload()
    await expect(page.get_by_text("Will you remember me?")).to_be_visible()
    again = page.get_by_role("article")
    assert (await again.locator(".tl-prose").inner_text()).split() == said.split()
    await expect(again.get_by_role("button", name="Helpful", exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )


async def test_a_new_conversation_starts_empty_and_stays_so(page: Page) -> None:
    await page.goto("/")
    await ask(page, "Something to forget")
    cookies = await page.evaluate("document.cookie")
    await page.get_by_role("button", name="New conversation").click()
    await page.wait_for_function("before => document.cookie !== before", arg=cookies)  # it comes last
    await expect(page.get_by_text("Something to forget")).to_have_count(0)
    await expect(page.get_by_role("heading", name="What would you like to know?")).to_be_visible()
    await page.reload()
    await expect(page.get_by_role("heading", name="What would you like to know?")).to_be_visible()


async def test_html_in_a_question_or_an_answer_runs_nowhere(page: Page, served: Served) -> None:
    await page.goto("/")
    await ask(page, HOSTILE)
    turn = (await served.turns())[-1]
    async with served.database.session() as session:
        turn.answer = f"{HOSTILE} [link](javascript:window.stolen=1) ![pixel](https://evil.example/p.png)"
        session.add(turn)
    await page.reload()
    await expect(page.get_by_text(HOSTILE, exact=True)).to_be_visible()
    await expect(page.get_by_role("article")).to_contain_text("<script>window.stolen=1</script>")
    assert await page.evaluate("window.stolen") is None
    assert await page.get_by_role("article").locator("img, script, a").count() == 0


async def test_the_chosen_mode_goes_with_the_question(page: Page, served: Served) -> None:
    await page.goto("/")
    await page.get_by_role("combobox", name="How to answer").click()
    await page.get_by_role("option", name="Checklist").click()
    await ask(page, "What do I do first?")
    assert (await served.turns())[-1].mode == "checklist"


async def test_a_question_that_is_too_long_is_refused_with_a_sentence(page: Page, served: Served) -> None:
    before = len(await served.turns())
    await page.goto("/")
    answer = await ask(page, "x" * 500)
    await expect(answer).to_contain_text("500")
    assert len(await served.turns()) == before


async def test_conversations_are_listed_searched_and_opened_again(page: Page, served: Served) -> None:
    await page.goto("/")
    await ask(page, "About tomatoes?")
    await page.get_by_role("button", name="New conversation").click()
    await ask(page, "About pumpkins?")
    await page.get_by_role("button", name="Conversations").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_role("listitem")).to_have_count(2)
    await dialog.get_by_label("Search").fill("TOMATO")
    await expect(dialog.get_by_role("listitem")).to_have_count(1)
    await dialog.get_by_role("button", name="About tomatoes?").click()
    await expect(page.get_by_role("log").get_by_text("About tomatoes?")).to_be_visible()
    await expect(page.get_by_role("log").get_by_text("About pumpkins?")).to_have_count(0)


async def test_nobody_sees_another_browsers_conversations(
    page: Page, browser: Browser, served: Served
) -> None:
    await page.goto("/")
    await ask(page, "My own?")
    async with await browser.new_context(base_url=served.url, locale="en-GB") as context:
        other = await context.new_page()
        await other.goto("/")
        await other.get_by_role("button", name="Conversations").click()
        await expect(other.get_by_text("No conversation like that in this browser.")).to_be_visible()
