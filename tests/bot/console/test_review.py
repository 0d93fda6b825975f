"""The review page in a real browser: decisions by key and by mouse land in the record."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, Page, expect
from sqlmodel import select

from bot.demo import past
from feedback import journal, review, votes
from feedback.tables import Review
from tests.bot.console.conftest import OPERATOR, Served

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


async def reviewing(page: Page, served: Served, *answers: str, question: str = "") -> list[int]:
    """The review's page, open on the first of new turns with these answers; their ids."""
    turns = await served.waiting(*answers, question=question)
    await page.goto("/review")
    await expect(page.get_by_role("article").get_by_text(f"#{turns[0]} · ")).to_be_visible()
    return turns


def words_of(text: str) -> str:
    """Letters and digits of what the tiny model says: of its other characters a browser changes some."""
    return "".join(filter(str.isalnum, text))


async def nothing_waits(page: Page) -> None:
    """Once all is decided."""
    await expect(page.get_by_text("Nothing waits for review")).to_be_visible()


async def test_the_next_answer_comes_with_its_votes_reasons_and_suggestions(
    page: Page, served: Served
) -> None:
    (turn,) = await served.waiting("It is **wrong**.", question="How large is the rank?")
    async with served.database.session() as session:
        for name, value, reason, better in (("a", 1, "", ""), ("b", -1, "wrong facts", "Eight or sixteen.")):
            member = await journal.member(session, "web", name)
            await votes.vote(
                session,
                turn_id=turn,
                member_id=member.id or 0,
                value=1 if value > 0 else -1,
                reason=reason,
                suggested_answer=better,
            )
    await page.goto("/review")
    card = page.get_by_role("article")
    await expect(card).to_contain_text("How large is the rank?")
    await expect(card.locator("strong")).to_have_text("wrong")
    await expect(card.get_by_role("img", name="Helpful: 1", exact=True)).to_be_visible()
    await expect(card.get_by_role("img", name="Not helpful: 1")).to_be_visible()
    await expect(card).to_contain_text("Wrong facts")
    await expect(page.get_by_text("Waiting: 1")).to_be_visible()
    assert (await served.turn(turn)).claimed_by.startswith(f"{OPERATOR} (browser ")

    await card.get_by_role("button", name="Use this answer").click()
    await expect(page.get_by_label("The answer it should have been")).to_have_value("Eight or sixteen.")
    await page.get_by_role("button", name="Save and approve").click()
    await nothing_waits(page)
    assert (await served.turn(turn)).approved_answer == "Eight or sixteen."


async def test_a_candidate_from_talk_says_why_it_is_one_and_a_key_approves_all_its_phrasings(
    page: Page, served: Served
) -> None:
    await past.import_past(served.database, b"key")
    await page.goto("/review")
    card = page.get_by_role("article")
    await expect(card).to_contain_text("from imported talk")
    await expect(card).to_contain_text("Which alpha should I use")
    await expect(card).to_contain_text("4 people marked it as the answer")
    await expect(card).to_contain_text("the asker said thanks")
    await expect(card).to_contain_text("I always leave alpha at 16")
    while await card.get_by_text("Also asked as").count() == 0:
        number = await card.get_by_text("#").first.inner_text()
        await page.keyboard.press("r")
        await page.keyboard.press("r")
        await expect(card.get_by_text(number)).to_have_count(0)
    await expect(card).to_contain_text("where do I find the notebooks")
    await page.keyboard.press("a")
    await expect(card.get_by_text("Also asked as")).to_have_count(0)
    asked = [turn.question for turn in await served.turns() if turn.review_state == "approved"]
    assert {question for question in asked if "notebooks" in question} == {
        "Where does the blog keep the notebooks that belong to the posts?",
        "where do I find the notebooks that belong to the posts on the blog?",
    }


async def test_arrows_choose_among_answers_side_by_side_and_every_decision_is_a_key(
    page: Page, served: Served
) -> None:
    await past.import_past(served.database, b"key")
    await page.goto("/review")
    card = page.get_by_role("article")
    await expect(card).to_contain_text("I always leave alpha at 16")
    first = await card.get_by_text("#").first.inner_text()
    number = int(first.split()[0].lstrip("#"))
    await page.keyboard.press("ArrowDown")
    await expect(card.locator("[aria-current=true]")).to_contain_text("I always leave alpha at 16")
    await page.keyboard.press("e")
    field = page.get_by_label("The answer it should have been")
    await expect(field).to_have_value("I always leave alpha at 16 and tune the learning rate instead.")
    await page.keyboard.press("Escape")
    await expect(field).to_have_count(0)
    await page.keyboard.press("ArrowDown")
    await expect(card.locator("[aria-current=true]")).to_contain_text("I always leave alpha at 16")
    await page.keyboard.press("a")
    await expect(card.get_by_text(first)).to_have_count(0)
    assert (await served.turn(number)).approved_answer.startswith("I always leave alpha at 16")
    await page.keyboard.press("u")
    await expect(card.get_by_text(first)).to_be_visible()
    assert (await served.turn(number)).review_state == "waiting"
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("ArrowUp")
    await page.keyboard.press("a")
    await expect(card.get_by_text(first)).to_have_count(0)
    assert (await served.turn(number)).approved_answer.startswith("Keep the ratio")
    for key in ("rr", "s"):
        shown = await card.get_by_text("#").first.inner_text()
        for one in key:
            await page.keyboard.press(one)
        await expect(card.get_by_text(shown)).to_have_count(0)


async def test_a_key_approves_and_the_next_one_comes(page: Page, served: Served) -> None:
    first, second = await reviewing(page, served, "First answer.", "Second answer.")
    await page.keyboard.press("a")
    await expect(page.get_by_text("Second answer.")).to_be_visible()
    await page.keyboard.type("rr")
    await nothing_waits(page)
    states = [(await served.turn(turn)).review_state for turn in (first, second)]
    assert states == ["approved", "rejected"]


async def test_an_edited_answer_is_what_gets_approved(page: Page, served: Served) -> None:
    (turn,) = await reviewing(page, served, "Almost right.")
    await page.get_by_role("button", name="Edit").click()
    field = page.get_by_label("The answer it should have been")
    await expect(field).to_have_value("Almost right.")
    await field.fill("Quite right.")
    await field.press("Control+Enter")
    await nothing_waits(page)
    edited = await served.turn(turn)
    assert (edited.review_state, edited.approved_answer) == ("edited", "Quite right.")


async def test_the_kind_of_an_edited_answer_is_corrected(page: Page, served: Served) -> None:
    (turn,) = await reviewing(page, served, "Why not.", question="Why does B start at zero?")
    await page.get_by_role("button", name="Edit").click()
    kind = page.get_by_role("combobox", name="Kind of answer")
    await expect(page.get_by_text("recognised by itself (now: explanation)")).to_be_visible()
    await kind.click()
    await page.get_by_role("option", name="plain answer", exact=True).click()
    await page.get_by_role("button", name="Save and approve").click()
    await nothing_waits(page)
    async with served.database.session(read_only=True) as session:
        assert await review.turns_labelled(session, [turn]) == {turn}
    edited = await served.turn(turn)
    assert (edited.task_type, edited.review_state) == ("qa", "edited")


async def test_a_kind_that_nobody_touched_is_left_to_the_rules(page: Page, served: Served) -> None:
    (turn,) = await reviewing(page, served, "Almost right.")
    await page.get_by_role("button", name="Edit").click()
    await expect(page.get_by_text("recognised by itself (now: plain answer)")).to_be_visible()
    await page.get_by_label("The answer it should have been").fill("- one\n- two\n- three")
    await page.get_by_role("button", name="Save and approve").click()
    await nothing_waits(page)
    async with served.database.session(read_only=True) as session:
        assert await review.turns_labelled(session, [turn]) == set()


async def test_a_button_stays_where_it_is_while_the_difference_grows(page: Page, served: Served) -> None:
    """Pressing it leaves the editor, which shows the difference at once: the click would miss."""
    (turn,) = await reviewing(page, served, "Almost right.")
    await page.keyboard.press("e")
    await page.get_by_label("The answer it should have been").fill("- one\n- two\n- three\n- four")
    save = await page.get_by_role("button", name="Save and approve").bounding_box()
    assert save is not None
    await page.mouse.move(save["x"] + 20, save["y"] + save["height"] / 2)
    await page.mouse.down()
    await expect(page.locator(".tl-diff ins").last).to_contain_text("four")
    await page.mouse.up()
    await nothing_waits(page)
    assert (await served.turn(turn)).approved_answer.endswith("- four")


async def test_escape_leaves_the_answer_as_it_was(page: Page, served: Served) -> None:
    (turn,) = await reviewing(page, served, "Left alone.")
    await page.keyboard.press("e")
    await page.get_by_label("The answer it should have been").fill("Not this")
    await page.keyboard.press("Escape")
    await expect(page.get_by_text("Left alone.")).to_be_visible()
    assert (await served.turn(turn)).review_state == "waiting"


async def test_undo_brings_a_decision_back_before_the_moderator(page: Page, served: Served) -> None:
    first, _ = await reviewing(page, served, "Rejected in haste.", "The other one.")
    await page.keyboard.type("rr")
    await expect(page.get_by_text("The other one.")).to_be_visible()
    note = page.get_by_role("alert").filter(has_text="Rejected. “Question 0?”")
    await expect(note).not_to_have_count(0)
    await page.keyboard.press("u")
    await expect(page.get_by_text("Rejected in haste.")).to_be_visible()
    await expect(page.get_by_role("alert").filter(has_text="Undone. “Question 0?”").first).to_be_visible()
    await expect(note).to_have_count(0)
    assert (await served.turn(first)).review_state == "waiting"


async def test_a_skipped_answer_waits_for_somebody_else(page: Page, served: Served) -> None:
    (turn,) = await reviewing(page, served, "Too hard.")
    await page.get_by_role("button", name="Skip").click()
    await expect(page.get_by_text("You skipped what is left")).to_be_visible()
    assert (await served.turn(turn)).review_state == "waiting"


async def test_a_browsers_own_shortcut_decides_nothing(page: Page, served: Served) -> None:
    (turn,) = await reviewing(page, served, "Select all of me.")
    await page.keyboard.press("Control+a")
    await page.keyboard.press("s")  # answered after the shortcut, so that was not taken for a decision
    await expect(page.get_by_text("You skipped what is left")).to_be_visible()
    assert (await served.turn(turn)).review_state == "waiting"


async def test_two_browsers_get_different_answers(page: Page, browser: Browser, served: Served) -> None:
    await reviewing(page, served, "For the first.", "For the second.")
    async with await browser.new_context(base_url=served.url, locale="en-GB") as context:
        other = await context.new_page()
        await other.goto("/review")
        await expect(other.get_by_text("For the second.")).to_be_visible()


async def test_of_two_tabs_of_one_browser_the_later_is_told(page: Page, served: Served) -> None:
    (turn,) = await reviewing(page, served, "Open in two tabs.")
    other = await page.context.new_page()
    await other.goto("/review")
    await expect(other.get_by_text("Open in two tabs.")).to_be_visible()
    await page.keyboard.press("a")
    await nothing_waits(page)
    await other.keyboard.press("r")
    await other.keyboard.press("r")
    await expect(other.get_by_text(f"Answer {turn} was already approved by {OPERATOR}.")).to_be_visible()
    await expect(other.get_by_text("Nothing waits for review")).to_be_visible()
    assert (await served.turn(turn)).review_state == "approved"


async def test_rejecting_takes_a_reason_by_key_that_the_record_keeps(page: Page, served: Served) -> None:
    (turn,) = await reviewing(page, served, "Somebody's address.")
    await page.keyboard.press("r")
    await expect(page.get_by_role("group", name="Why is it rejected?")).to_be_visible()
    await page.keyboard.press("3")
    await nothing_waits(page)
    async with served.database.session(read_only=True) as session:
        rows = (await session.exec(select(Review).where(Review.turn_id == turn))).all()
    assert [(one.decision, one.note) for one in rows] == [("reject", "private")]


async def test_the_note_of_a_decision_names_the_question_and_takes_that_very_one_back(
    page: Page, served: Served
) -> None:
    first, second = await reviewing(page, served, "First answer.", "Second answer.")
    await page.keyboard.press("a")
    note = page.get_by_role("alert").filter(has_text="Approved. “Question 0?”").first
    await expect(note).to_be_visible()
    await expect(page.get_by_role("article").get_by_text("Second answer.")).to_be_visible()
    await page.keyboard.press("a")
    await nothing_waits(page)
    await note.get_by_role("button", name="Undo").dispatch_event("click")
    await expect(page.get_by_role("article").get_by_text("First answer.")).to_be_visible()
    assert [(await served.turn(turn)).review_state for turn in (first, second)] == ["waiting", "approved"]


async def test_who_decides_fast_still_sees_the_answer_behind_the_notes(page: Page, served: Served) -> None:
    answers = [f"Answer number {number}." for number in range(5)]
    await reviewing(page, served, *answers)
    for answer in answers:
        await expect(page.get_by_role("article").get_by_text(answer)).to_be_visible()
        await page.keyboard.press("a")
    await nothing_waits(page)
    await expect(page.get_by_role("alert").filter(has_text="Question 4?")).to_be_visible()
    await expect(page.get_by_role("button", name="Undo").and_(page.locator(".tl-note-action"))).to_have_count(
        3
    )


async def test_the_arrows_look_on_and_back_and_decide_nothing(page: Page, served: Served) -> None:
    turns = await reviewing(page, served, "Before.", "Behind.")
    await page.keyboard.press("ArrowRight")
    await expect(page.get_by_text("Behind.")).to_be_visible()
    await page.keyboard.press("ArrowRight")
    await expect(page.get_by_text("That is the last one in the queue.")).to_be_visible()
    await page.keyboard.press("ArrowLeft")
    await expect(page.get_by_text("Before.")).to_be_visible()
    assert [(await served.turn(turn)).review_state for turn in turns] == ["waiting", "waiting"]


async def test_a_question_mark_shows_the_keys(page: Page, served: Served) -> None:
    await reviewing(page, served, "Any.")
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog").get_by_text("Undo the last decision")).to_be_visible()


async def test_repeats_of_a_question_are_one_card_and_undone_together(page: Page, served: Served) -> None:
    turns = await reviewing(
        page,
        served,
        "The rank is eight.",
        "No idea.",
        "It is 8.",
        question="How large is the rank of an adapter?",
    )
    await expect(page.get_by_text("Decide the same on 2 repeats of this question")).to_be_visible()
    await page.keyboard.press("ArrowRight")
    await expect(page.get_by_text("That is the last one in the queue.")).to_be_visible()
    await page.keyboard.press("a")
    await nothing_waits(page)
    decided = [await served.turn(turn) for turn in turns]
    assert [one.review_state for one in decided] == ["approved", "edited", "edited"]
    assert {one.approved_answer for one in decided} == {"The rank is eight."}
    await page.keyboard.press("u")
    await expect(page.get_by_text("The rank is eight.")).to_be_visible()
    assert {(await served.turn(turn)).review_state for turn in turns} == {"waiting"}


async def test_what_was_decided_on_a_question_like_it_is_shown(page: Page, served: Served) -> None:
    (before,) = await served.waiting("Eight.", question="How large is the rank of a LoRA adapter?")
    async with served.database.session() as session:
        await review.decide(session, before, "ana", "reject", note="wrong")
    async with served.database.session() as session:
        assert (await journal.find_turn(session, before)).review_state == "rejected"
    await reviewing(page, served, "Sixteen.", question="how large is the rank of a LoRA adapter")
    await page.get_by_text("Decided on questions like this").click()
    await expect(page.get_by_text("ana · wrong")).to_be_visible()


async def test_personal_data_is_named_and_masked_by_a_button(page: Page, served: Served) -> None:
    (turn,) = await reviewing(page, served, "Write to ada.lovelace@analytical.org.")
    await expect(page.get_by_text("Personal data: e-mail")).to_be_visible()
    await page.get_by_role("button", name="Edit it without them").click()
    await page.get_by_role("button", name="Save and approve").click()
    await nothing_waits(page)
    assert (await served.turn(turn)).approved_answer == "Write to [e-mail]."


async def test_an_edit_shows_what_it_changes_and_corrects_the_language(page: Page, served: Served) -> None:
    (turn,) = await reviewing(page, served, "It is eight.")
    await page.keyboard.press("e")
    await page.get_by_label("The answer it should have been").fill("It is sixteen.")
    await expect(page.locator(".tl-diff del")).to_have_text("eight")
    await expect(page.locator(".tl-diff ins")).to_have_text("sixteen")
    await page.get_by_role("combobox", name="Language").click()
    await page.get_by_role("option", name="Polish").click()
    await page.get_by_role("button", name="Save and approve").click()
    await nothing_waits(page)
    edited = await served.turn(turn)
    assert (edited.language, edited.approved_answer) == ("pl", "It is sixteen.")


async def test_a_digit_takes_what_a_member_suggested(page: Page, served: Served) -> None:
    (turn,) = await served.waiting("Wrong.")
    async with served.database.session() as session:
        member = await journal.member(session, "web", "c")
        await votes.vote(session, turn_id=turn, member_id=member.id or 0, value=-1, suggested_answer="Right.")
    await page.goto("/review")
    await expect(page.get_by_text("Right.")).to_be_visible()
    await page.keyboard.press("1")
    await expect(page.get_by_label("The answer it should have been")).to_have_value("Right.")


async def test_a_refusal_is_said_in_polish_and_the_operator_reads_the_rest(
    browser: Browser, served: Served
) -> None:
    await served.waiting("Bez słów.")
    async with await browser.new_context(base_url=served.url, locale="pl-PL") as context:
        page = await context.new_page()
        await page.goto("/review")
        await page.keyboard.press("e")
        await page.get_by_label("Jak powinna brzmieć odpowiedź").fill(" ")
        await page.get_by_role("button", name="Zapisz i zatwierdź").click()
        await expect(page.get_by_text("Tak nie da się tego zrobić. (An edit of turn")).to_be_visible()


async def test_the_model_drafts_another_answer_that_its_number_takes(page: Page, served: Served) -> None:
    (turn,) = await served.waiting("Wrong.", question="What is it?")
    before = len(await served.turns())
    await page.goto("/review")
    await expect(page.get_by_role("article")).to_contain_text("Wrong.")
    await page.keyboard.press("d")
    draft = page.locator(".tl-suggested[aria-busy=false]")
    written = words_of(await draft.locator(".tl-prose").inner_text())
    await page.keyboard.press("1")
    editor = page.get_by_label("The answer it should have been")
    await expect(editor).not_to_have_value("")
    assert words_of(await editor.input_value()) == written != ""
    await page.get_by_role("button", name="Save and approve").click()
    await nothing_waits(page)
    assert words_of((await served.turn(turn)).approved_answer) == written
    assert len(await served.turns()) == before, "a draft is no turn"
