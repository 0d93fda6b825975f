"""Each format into pieces: what a reader would look for is there, under its headings, with its place."""

from __future__ import annotations

import gzip
import zipfile
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.errors import Refusal
from bot.knowledge.documents.chunking import Chunker
from bot.knowledge.documents.parsing import parse
from bot.knowledge.documents.pieces import Note, Parsed, ParseLimits, Unreadable
from tests.bot.knowledge.documents.made import OPENING, pdf, word

MARKDOWN = """---
title: "Handbook"
---
# The club

Open on Saturdays.

## Fees

| Who | Fee |
|---|---|
| adults | 50 |
| youth | 20 |

### Late payment

Pay until **the tenth**.

## Rules

Be kind.
"""


def _read(content: bytes | str, *, most: int = 1000, limits: ParseLimits | None = None) -> Parsed:
    if isinstance(content, str):
        content = content.encode()
    return parse(content, limits or ParseLimits(), Chunker(most))


def _refusal(content: bytes | str, limits: ParseLimits | None = None) -> Refusal:
    with pytest.raises(Unreadable) as refused:
        _read(content, limits=limits)
    return refused.value.reason


def test_a_piece_of_markdown_knows_the_headings_above_it() -> None:
    found = _read(MARKDOWN)
    assert found.title == "Handbook"
    assert [piece.titles for piece in found.pieces] == [
        ("The club",),
        ("The club", "Fees"),
        ("The club", "Fees", "Late payment"),
        ("The club", "Rules"),
    ]
    assert found.pieces[2].text == "Pay until **the tenth**."


def test_a_heading_underlined_or_with_marks_is_read_as_its_words() -> None:
    found = _read("The *old* `club`\n================\n\nOpen.\n")
    assert found.pieces[0].titles == ("The old club",)


def test_what_looks_like_a_heading_in_code_is_none() -> None:
    found = _read("# Install\n\n```sh\n# not a heading\nmake\n```\n")
    assert len(found.pieces) == 1 and "# not a heading" in found.pieces[0].text


def test_html_within_markdown_loses_its_tags_and_comments() -> None:
    found = _read('# A\n\n<div align="center">Welcome <b>home</b></div>\n\n<!-- hidden -->\n\nText.\n')
    assert found.pieces[0].text == "Welcome home\n\nText."


def test_a_table_stays_whole_though_the_section_is_cut() -> None:
    table = "| a | b |\n|---|---|\n" + "\n".join(f"| {n} | value {n} |" for n in range(10))
    found = _read(f"# T\n\n{'Some words before. ' * 10}\n\n{table}\n\n{'And after it. ' * 10}", most=250)
    assert table in [piece.text for piece in found.pieces]


def test_a_table_longer_than_a_piece_is_cut_between_rows_and_keeps_its_head() -> None:
    rows = [f"| {n} | value {n} |" for n in range(100)]
    found = _read("# T\n\n| a | b |\n|---|---|\n" + "\n".join(rows), most=200)
    assert len(found.pieces) > 5
    assert all(piece.text.startswith("| a | b |\n|---|---|\n| ") for piece in found.pieces)
    assert [line for piece in found.pieces for line in piece.text.split("\n")[2:]] == rows


def test_a_long_text_is_cut_at_the_ends_of_sentences() -> None:
    sentences = [f"Zdanie numer {n} mówi o żółwiach i źrebakach." for n in range(40)]
    found = _read(" ".join(sentences), most=200)
    assert all(piece.text.endswith(".") and piece.text.startswith("Zdanie") for piece in found.pieces)


PAGE = """<!DOCTYPE html><html><head><title>Regulamin | Klub</title><style>p {}</style></head><body>
<header><p>Logo</p></header><nav><a href="/">Start</a></nav>
<main><h1>Regulamin<a class="headerlink" href="#r">¶</a></h1><p>Żółta <b>łódka</b> stoi.</p>
<section id="skladki"><h2>Składki</h2><table><tr><th>Kto</th><th>Ile</th></tr>
<tr><td>Dorośli</td><td>50 zł</td></tr></table><ul><li>raz</li><li>dwa<ol><li>po pierwsze</li></ol></li></ul>
<pre>make
 test</pre></section><aside>Reklama</aside><script>alert(1)</script></main>
<footer>Stopka</footer></body></html>"""


def test_a_page_is_read_without_what_surrounds_it() -> None:
    found = _read(PAGE)
    assert (found.format, found.title) == ("html", "Regulamin")
    assert found.pieces[0].titles == ("Regulamin",) and found.pieces[0].text == "Żółta łódka stoi."
    everything = "".join(piece.text for piece in found.pieces)
    assert not [
        word for word in ("Logo", "Start", "Reklama", "alert", "Stopka", "p {}") if word in everything
    ]


def test_tables_lists_and_code_of_a_page_become_markdown_and_its_anchors_lead_there() -> None:
    piece = _read(PAGE).pieces[1]
    assert piece.titles == ("Regulamin", "Składki") and piece.anchor == "skladki"
    assert "| Kto | Ile |\n| --- | --- |\n| Dorośli | 50 zł |" in piece.text
    assert "- raz\n- dwa\n  1. po pierwsze" in piece.text
    assert "```\nmake\n test\n```" in piece.text


def test_a_page_in_many_nested_elements_keeps_its_words() -> None:
    found = _read(f"<html><body>{'<div>' * 400}<p>Deep words.</p>{'</div>' * 400}</body></html>")
    assert "Deep words." in found.pieces[0].text


def test_a_pdf_has_pages_and_the_headings_of_its_outline() -> None:
    found = _read(pdf(OPENING, "Składka wynosi 50 zł.", outline={2: "Składki"}, title="Regulamin"))
    assert (found.format, found.title) == ("pdf", "Regulamin")
    first, second = found.pieces
    assert (first.titles, first.page) == ((), 1) and first.text == OPENING
    assert (second.titles, second.page, second.text) == (("Składki",), 2, "Składka wynosi 50 zł.")


def test_a_word_divided_at_a_line_end_of_a_pdf_is_whole_again() -> None:
    text = (
        "The infor-\nmation desk is well-\nknown, a well-known place for non-\nEU citizens and for łód-\nki."
    )
    (piece,) = _read(pdf(text)).pieces
    assert (
        piece.text
        == "The information desk is well-known, a well-known place for non-EU citizens and for łódki."
    )


def test_pages_of_pictures_are_counted_and_a_pdf_of_nothing_else_is_refused() -> None:
    found = _read(pdf("Words.", "", "More words."))
    assert found.notes == (Note("pages without text", 1, 2),)
    assert [(piece.text, piece.page) for piece in found.pieces] == [("Words.", 1), ("More words.", 3)]
    assert _refusal(pdf("", "")) == "no text"


def test_a_word_document_has_its_headings_lists_and_tables() -> None:
    found = _read(word())
    assert (found.format, found.title) == ("docx", "Regulamin klubu")
    hours, fees = found.pieces
    assert hours.titles == ("Regulamin klubu", "Godziny")
    assert hours.text == f"{OPENING}\n\n- w sobotę od 10\n- w niedzielę od 12"
    assert fees.text == "| Kto | Ile |\n| --- | --- |\n| Dorośli | 50 zł |\n| Młodzież | 20 zł |"


@pytest.mark.parametrize(
    "table",
    [
        'question,answer\nWhen?,"At ten, always."\nWhere?,Here.\n',
        "id;Odpowiedź;Pytanie\n1;At ten, always.;When?\n2;Here.;Where?\n",
        "When?\tAt ten, always.\nWhere?\tHere.\n",
    ],
    ids=["named in English", "named in Polish, in another order", "unnamed, by tabs"],
)
def test_each_question_of_a_table_is_a_piece_with_its_answer(table: str) -> None:
    found = _read(table)
    assert found.format == "pairs"
    assert [piece.text for piece in found.pieces] == ["When?\n\nAt ten, always.", "Where?\n\nHere."]


def test_rows_without_an_answer_are_left_out_and_counted() -> None:
    found = _read("question,answer\nWhen?,\nWhere?,Here.\n\nWho?\n")
    assert found.notes == (Note("rows without answer", 2, 2),) and len(found.pieces) == 1


def test_prose_with_a_comma_in_each_line_is_no_table() -> None:
    assert _read("Dear all, hello.\nWe met, we spoke.\n").format == "text"


SITEMAP = """<?xml version="1.0" encoding="ISO-8859-2"?>
<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"><url><loc> https://a.example/1 </loc></url>
<url><loc>https://a.example/2</loc></url><url><loc>https://a.example/1</loc></url><url><loc>ftp://a/3</loc></url></urlset>"""
RSS = """<rss version="2.0"><channel><title>News</title><link>https://a.example/</link>
<item><title>One</title><link>https://a.example/1</link></item></channel></rss>"""
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom"><title>News</title><link href="https://a.example/"/>
<entry><link rel="self" href="https://a.example/1.atom"/><link rel="alternate" href="https://a.example/1"/></entry>
<entry><link href="https://a.example/2"/></entry></feed>"""


@pytest.mark.parametrize(
    ("text", "kind", "links"),
    [
        (SITEMAP, "sitemap", ("https://a.example/1", "https://a.example/2")),
        (RSS, "feed", ("https://a.example/1",)),
        (ATOM, "feed", ("https://a.example/1", "https://a.example/2")),
    ],
    ids=["sitemap", "RSS", "Atom"],
)
def test_a_sitemap_and_a_feed_list_addresses_each_once(text: str, kind: str, links: tuple[str, ...]) -> None:
    found = _read(text)
    assert (found.format, found.links, found.pieces) == (kind, links, ())


def test_a_packed_sitemap_is_read_too() -> None:
    assert len(_read(gzip.compress(SITEMAP.encode())).links) == 2


def test_no_more_addresses_are_taken_than_allowed_and_the_rest_is_counted() -> None:
    found = _read(SITEMAP, limits=ParseLimits(links=1))
    assert found.links == ("https://a.example/1",)
    assert found.notes == (Note("links beyond the limit", 1, 2),)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1250", "iso8859_2"])
def test_polish_letters_are_read_in_every_usual_encoding(encoding: str) -> None:
    assert _read(f"{OPENING}\nŁąka, gęś i ćma.\n".encode(encoding)).pieces[0].text.startswith(OPENING)


def test_what_a_file_is_shows_in_its_content() -> None:
    samples = {"pdf": pdf("Text."), "docx": word(), "html": PAGE.encode(), "markdown": MARKDOWN.encode()}
    assert {kind: _read(content).format for kind, content in samples.items()} == {
        kind: kind for kind in samples
    }


OLE = bytes.fromhex("d0cf11e0a1b11ae1") + b"\0" * 64


def _archive(**parts: str) -> bytes:
    kept = BytesIO()
    with zipfile.ZipFile(kept, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name.replace("__", "/"), text)
    return kept.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b" \n\t\n", "empty"),
        (pdf("Secret.", password="s3cret"), "encrypted"),
        (OLE + "EncryptedPackage".encode("utf-16-le"), "encrypted"),
        (OLE, "unsupported"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 64, "unsupported"),
        (bytes(range(256)) * 20, "unsupported"),
        (_archive(xl__workbook="<x/>"), "unsupported"),
        (_archive(notes="hello"), "unsupported"),
        (_archive(word__document="<x/>"), "broken"),
        (word()[:2000], "broken"),
        (b"%PDF-1.7\nnot really", "broken"),
        (b"<html><body><nav>Only links</nav></body></html>", "no text"),
    ],
    ids=[
        "nothing", "blanks", "locked PDF", "locked DOCX", "old Office", "picture", "binary", "spreadsheet",
        "archive", "DOCX without its document", "half a DOCX", "half a PDF", "page without contents",
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_its_reason(content: bytes, reason: str) -> None:
    assert _refusal(content) == reason


def test_more_pages_text_bytes_or_unpacked_text_than_allowed_are_refused() -> None:
    assert _refusal(pdf("a", "b", "c"), ParseLimits(pages=2)) == "too many pages"
    assert _refusal("word " * 100, ParseLimits(characters=100)) == "too much text"
    assert _refusal(pdf("word " * 100), ParseLimits(characters=100)) == "too much text"
    assert _refusal(b"a" * (1024 * 1024 + 1), ParseLimits(file_mib=1)) == "too large"
    packed = _archive(word__document="a" * (2 * 1024 * 1024))
    assert len(packed) < 10_000 and _refusal(packed, ParseLimits(expanded_mib=1)) == "expands too much"
    assert (
        _refusal(gzip.compress(b" " * (2 * 1024 * 1024)), ParseLimits(expanded_mib=1)) == "expands too much"
    )


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.text("abcżółw .,!?\n", max_size=300),
            st.builds("{} {}".format, st.sampled_from(["#", "##", "###"]), st.text("abc ", max_size=30)),
            st.just("| a | b |\n|---|---|\n| long cell of words | another long cell of words |"),
            st.just("```\ncode of some length, which goes on\n```"),
        ),
        max_size=12,
    ),
    st.integers(20, 200),
)
def test_no_piece_exceeds_its_size_and_no_word_is_lost(parts: list[str], most: int) -> None:
    text = "\n\n".join(parts)
    try:
        found = _read(f"# Start\n\nword\n\n{text}", most=most)
    except Unreadable as refused:
        assert refused.reason == "no text"
        return
    assert max(len(piece.text) for piece in found.pieces) <= most
    kept = "".join("".join((*piece.titles, piece.text)) for piece in found.pieces)
    assert set("żółw") & set(text) <= set(kept)
    assert sum(map(kept.count, "żółw")) >= sum(map("".join(parts).count, "żółw"))
