"""Where an answer is from, as it stands below it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlmodel import update

from bot.chat.sources import footnotes, name_of, taken_over, with_links
from bot.knowledge.knowledge import Source
from feedback.database import Database
from feedback.tables import Community, Conversation, Turn
from tests.chronicle import Chronicle

PAGE = Source(
    passage_id=1,
    kind="document",
    text="Tomatoes are planted in May.",
    content_hash="h",
    score=1.0,
    title="Garden [rules]",
    title_path=("Garden [rules]", "Spring"),
    page=3,
    link="https://example.org/a(b) c",
)
APPROVED = Source(
    passage_id=2,
    kind="approved",
    text="In May.",
    content_hash="h",
    score=1.0,
    question="When?\nMay?",
    turn_id=7,
)


def test_sources_are_numbered_as_in_the_prompt_and_linked_where_they_have_an_address() -> None:
    assert footnotes([PAGE, APPROVED], "en") == (
        "**Sources**\n"
        "1. [Garden \\[rules\\] › Spring, p. 3](https://example.org/a%28b%29%20c)\n"
        "2. approved by the moderators: “When? May?”"
    )
    assert "s. 3" in footnotes([PAGE], "pl") and "zatwierdzone" in footnotes([APPROVED], "pl")
    assert footnotes([], "en") == ""


def test_a_name_stays_a_line_however_long_the_headings_are() -> None:
    assert len(name_of(replace(PAGE, title="word " * 200), "en")) < 120


def test_sentences_that_an_answer_took_over_are_told_from_those_that_it_left() -> None:
    is_taken_over = taken_over("You plant your tomatoes in May, when it is warm.", "en")
    assert is_taken_over("Tomatoes are planted in May.")
    assert not is_taken_over("Cucumbers follow two weeks later.")
    assert not is_taken_over("In May.")
    in_polish = taken_over("Pomidory sadzi się w maju, po zimnych ogrodnikach.", "pl")
    assert in_polish("Pomidory sadzimy w maju po ogrodnikach.") and not in_polish(
        "Ogórki siejemy później w lipcu."
    )


@pytest.mark.parametrize(
    ("platform", "community", "conversation", "message", "link"),
    [
        ("telegram", "-100123456", "7", "-100123456-42", "https://t.me/c/123456/42"),
        ("discord", "77", "88/99", "99", "https://discord.com/channels/77/88/99"),
        ("discord", "77", "123", "4567", "https://discord.com/channels/77/123/4567"),
        ("discord", "direct", "88", "99", ""),
        ("discord", "77", "88/99", "99.1", ""),
        ("web", "web", "talk", "99", ""),
    ],
)
async def test_an_approved_answer_leads_to_its_question_where_the_platform_has_an_address_for_it(
    database: Database,
    chronicle: Chronicle,
    platform: str,
    community: str,
    conversation: str,
    message: str,
    link: str,
) -> None:
    turn_id = await chronicle.asked("When?")
    async with database.session() as session:
        await session.exec(update(Community).values(platform=platform, external_id=community))
        await session.exec(update(Conversation).values(external_id=conversation))
        await session.exec(update(Turn).values(external_id=message))
    async with database.session(read_only=True) as session:
        found = await with_links(session, [replace(APPROVED, turn_id=turn_id), PAGE])
    assert [one.link for one in found] == [link, PAGE.link]
