"""HTML: the page's own contents as Markdown, with the fragments that lead to its headings.

lxml reads it, as forgiving as browsers are. What pages say of themselves (`main`, `article`, `nav`, roles)
divides contents from surroundings. trafilatura, which guesses, was tried on 63 pages of a manual: it lost
4 % of their words, and the fragments of headings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from lxml import etree, html
from lxml.html import HtmlElement

from bot.knowledge.documents.pieces import Block, Contents, Unreadable


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


_LEFT_OUT: Final = _names(
    "script style template noscript nav aside footer form button select textarea input dialog iframe "
    "object embed svg math canvas audio video map img picture link meta head"
)
_SURROUNDING_ROLES: Final = _names(
    "navigation banner contentinfo search complementary menu menubar toolbar dialog alert tooltip"
)
_HEADINGS: Final = {f"h{level}": level for level in range(1, 7)}
_MAIN: Final = (
    "//main[not(@hidden)] | //*[@role='main'] | //*[@itemprop='articleBody']",
    "//article",
    "//body",
)
_BLOCKS: Final = _names(
    "address article blockquote body center dd details div dl dt fieldset figcaption figure header "
    "hgroup hr html legend li main menu ol p pre section summary table tbody td tfoot th thead tr ul"
)
_SPACE: Final = re.compile(r"[ \t\r\n\f\v\xa0]+")
_DEEPEST: Final = 200
"""Elements within elements; deeper ones lose their shape, not their words."""
_PERMALINKS: Final = ("¶", "#", "§", "🔗", "")
_PERMALINK_CLASSES: Final = frozenset({"headerlink", "anchor", "hash-link", "permalink", "anchor-link"})


def parse(text: str) -> Contents:
    """The blocks of a page. Raises Unreadable."""
    reader = html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, huge_tree=True)
    try:
        root = html.document_fromstring(text.encode("utf-8", "replace"), parser=reader)
    except (etree.ParserError, etree.XMLSyntaxError, ValueError) as error:
        raise Unreadable("broken", str(error)) from None
    title = _SPACE.sub(" ", root.findtext(".//title") or "").strip()
    for path in _MAIN:
        parts = _outermost(root.xpath(path))
        blocks = tuple(block for part in parts for block in _Walk().of(part))
        if any(block.kind != "heading" for block in blocks):
            break
    else:
        blocks = ()
    first = next((block.text for block in blocks if block.kind == "heading" and block.level == 1), "")
    return Contents("html", first or title, blocks)


def _outermost(found: list[HtmlElement]) -> list[HtmlElement]:
    known = set(found)
    return [one for one in found if not any(above in known for above in one.iterancestors())]


class _Walk:
    """One walk over an element, which gathers words until a block ends."""

    def __init__(self) -> None:
        self._words: list[str] = []
        self._blocks: list[Block] = []
        self._anchor = ""
        self._list: Block | None = None

    def of(self, element: HtmlElement) -> Iterator[Block]:
        self._element(element, "", 0)
        self._end("")
        yield from self._blocks

    def _element(self, element: HtmlElement, prefix: str, depth: int) -> None:
        tag = element.tag if isinstance(element.tag, str) else ""
        if not tag or _is_left_out(element, tag):
            return
        if tag in _HEADINGS:
            self._end(prefix)
            words = _plain(element)
            if words:
                self._anchor = _anchor_of(element)
                self._blocks.append(Block("heading", words, _HEADINGS[tag], anchor=self._anchor))
        elif tag == "table" and _is_of_data(element):
            self._end(prefix)
            table = _table(element)
            if table:
                self._blocks.append(Block("table", table, anchor=self._anchor))
        elif tag == "pre":
            self._end(prefix)
            code = element.text_content().strip("\n")
            if code.strip():
                fence = "```" if "```" not in code else "~~~~"
                self._prose(f"{fence}\n{code}\n{fence}")
        elif depth > _DEEPEST:
            self._words.append(_plain(element))
        elif tag in _BLOCKS:
            self._end(prefix)
            inner = self._prefix_of(element, tag, prefix)
            self._within(element, inner, depth)
            self._end(inner)
        else:
            self._inline(element, tag, prefix, depth)

    def _within(self, element: HtmlElement, prefix: str, depth: int) -> None:
        self._words.append(element.text or "")
        for child in element:
            self._element(child, prefix, depth + 1)
            self._words.append(child.tail or "")

    def _inline(self, element: HtmlElement, tag: str, prefix: str, depth: int) -> None:
        if tag == "br":
            self._words.append("\x00")
            return
        mark = "`" if tag in ("code", "kbd", "samp", "tt") else ""
        self._words.append(mark)
        self._within(element, prefix, depth)
        self._words.append(mark)

    @staticmethod
    def _prefix_of(element: HtmlElement, tag: str, prefix: str) -> str:
        if tag != "li":
            return prefix
        parent = element.getparent()
        indent = " " * (len(prefix) - len(prefix.lstrip()) + 2) if prefix.strip() else prefix
        if parent is not None and parent.tag == "ol":
            return f"{indent}{1 + sum(1 for _ in element.itersiblings('li', preceding=True))}. "
        return f"{indent}- "

    def _end(self, prefix: str) -> None:
        """End the running block, if it says anything."""
        lines = "".join(self._words).split("\x00")
        self._words = []
        text = "\n".join(stripped for line in lines if (stripped := _SPACE.sub(" ", line).strip()))
        if text:
            self._prose(prefix + text, is_item=bool(prefix))

    def _prose(self, text: str, *, is_item: bool = False) -> None:
        last = self._blocks[-1] if self._blocks else None
        if is_item and last is not None and last is self._list:
            self._blocks[-1] = Block("prose", f"{last.text}\n{text}", anchor=self._anchor)
        else:
            self._blocks.append(Block("prose", text, anchor=self._anchor))
        self._list = self._blocks[-1] if is_item else None


def _is_left_out(element: HtmlElement, tag: str) -> bool:
    if tag in _LEFT_OUT or "hidden" in element.attrib or element.get("aria-hidden") == "true":
        return True
    if tag == "header" and element.getparent() is not None and element.getparent().tag == "body":
        return True
    return element.get("role", "") in _SURROUNDING_ROLES


def _plain(element: HtmlElement) -> str:
    """The words of an element in one line, without what only links to itself."""
    words = []
    for part in element.iter():
        if not isinstance(part.tag, str):
            continue
        skipped = part.tag in _LEFT_OUT or (part.tag == "a" and _is_permalink(part))
        if part.text and not skipped:
            words.append(part.text)
        if part.tail and part is not element:
            words.append(part.tail)
    return _SPACE.sub(" ", "".join(words)).strip()


def _is_permalink(link: HtmlElement) -> bool:
    own = set(link.get("class", "").split())
    return bool(own & _PERMALINK_CLASSES) or (link.text_content().strip() in _PERMALINKS)


def _anchor_of(heading: HtmlElement) -> str:
    """The fragment that leads to a heading: its own id, its section's, or that of an anchor within it."""
    parent = heading.getparent()
    inner = [child.get("id") or child.get("name") or "" for child in heading.iter("a")]
    around = parent.get("id", "") if parent is not None and parent.tag == "section" else ""
    return str(heading.get("id") or around or next(filter(None, inner), ""))


def _is_of_data(table: HtmlElement) -> bool:
    """Whether a table holds data and no layout: its cells hold no tables, and it has columns."""
    if table.get("role") in ("presentation", "none") or table.find(".//table") is not None:
        return False
    return any(len(row) > 1 for row in table.iter("tr"))


def _table(table: HtmlElement) -> str:
    """A table as Markdown; a head row is one of `th` or the first."""
    rows = [
        [_plain(cell).replace("|", "\\|") for cell in row if cell.tag in ("td", "th")]
        for row in table.iter("tr")
    ]
    rows = [row for row in rows if any(row)]
    if not rows:
        return ""
    columns = max(map(len, rows))
    lines = [f"| {' | '.join(row + [''] * (columns - len(row)))} |" for row in rows]
    lines.insert(1, f"|{' --- |' * columns}")
    caption = table.find("caption")
    named = [_plain(caption), ""] if caption is not None and _plain(caption) else []
    return "\n".join([*named, *lines])
