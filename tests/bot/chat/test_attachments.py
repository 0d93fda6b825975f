"""Text files are part of a question; whatever else hangs on it is named."""

from __future__ import annotations

import pytest

from bot.chat.attachments import MOST_BYTES, Attachment, read_attachments
from bot.texts import Text


def attachment(name: str, content: bytes | None, media_type: str = "", size: int | None = None) -> Attachment:
    async def read() -> bytes | None:
        return content

    return Attachment(Text(name, name), media_type, len(content or b"") if size is None else size, read)


@pytest.mark.parametrize(
    ("name", "media_type", "is_text"),
    [
        ("message.txt", "", True),
        ("NOTES.MD", "", True),
        ("data", "text/csv; charset=utf-8", True),
        ("config", "application/json", True),
        ("leaf.png", "image/png", False),
        ("letter.docx", "application/vnd.openxmlformats", False),
        ("unknown", "", False),
    ],
)
async def test_a_file_is_text_by_its_type_or_its_name(name: str, media_type: str, is_text: bool) -> None:
    read = await read_attachments("See:", [attachment(name, b"Words.", media_type)], 100)
    assert (read.text == "See:\n\nWords.") is is_text
    assert bool(read.unread) is not is_text


@pytest.mark.parametrize("content", [b"\xff\xfe\x00w", b"\xc3\x28", b"", None], ids=repr)
async def test_what_only_says_that_it_is_text_is_named_as_not_read(content: bytes | None) -> None:
    read = await read_attachments("See:", [attachment("a.txt", content)], 100)
    assert (read.text, read.notice("en")) == ("See:", "I did not read: a.txt. I can read text only.")


async def test_a_file_too_large_to_fetch_is_not_fetched() -> None:
    read = await read_attachments("", [attachment("log.txt", b"Words.", size=MOST_BYTES + 1)], 100)
    assert (read.text, read.notice("pl")) == (
        "",
        "Nie przeczytano: log.txt. Potrafię czytać tylko tekst.",
    )


async def test_files_fill_the_room_that_the_question_leaves_and_no_more() -> None:
    files = [attachment("a.txt", b"a" * 30), attachment("b.txt", b"b" * 100), attachment("c.txt", b"c")]
    read = await read_attachments("q" * 20, files, 100)
    assert read.text == "q" * 20 + "\n\n" + "a" * 30 + "\n\n" + "b" * 46
    assert read.notice("en") == (
        "I did not read: c.txt. I can read text only. "
        "I read only the beginning of: b.txt. The rest is more than I take."
    )
