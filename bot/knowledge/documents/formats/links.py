"""Sitemaps, their indexes, RSS and Atom: the addresses that they list, in their order.

lxml reads them, forgiving, without entities and without the network; namespaces are ignored, for feeds mix
them freely. Sources: sitemaps.org's protocol, RSS 2.0, RSS 1.0, RFC 4287 (Atom).
"""

from __future__ import annotations

from typing import Final

from lxml import etree

from bot.knowledge.documents.pieces import Contents, Format, Note, ParseLimits, Unreadable

_LISTED: Final = (
    "//*[local-name()='url' or local-name()='sitemap']/*[local-name()='loc']/text()"
    " | //*[local-name()='item']/*[local-name()='link']/text()"
    " | //*[local-name()='entry']/*[local-name()='link'][not(@rel) or @rel='alternate']/@href"
)
_NAMED: Final = "string(/*/*[local-name()='channel']/*[local-name()='title'] | /*/*[local-name()='title'])"


def parse(text: str, kind: Format, limits: ParseLimits) -> Contents:
    """The addresses, each once, no more than the limit allows. Raises Unreadable."""
    reader = etree.XMLParser(recover=True, resolve_entities=False, no_network=True, load_dtd=False)
    try:
        root = etree.fromstring(text.encode(), reader)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise Unreadable("broken", str(error)) from None
    if root is None:
        raise Unreadable("broken")
    # the declaration of an encoding no longer holds for decoded text, and lxml takes bytes
    found = dict.fromkeys(str(link).strip() for link in root.xpath(_LISTED))
    links = [link for link in found if link.startswith(("http://", "https://"))]
    if not links:
        raise Unreadable("no text")
    beyond = len(links) - limits.links
    notes = (Note("links beyond the limit", beyond, limits.links + 1),) if beyond > 0 else ()
    return Contents(kind, str(root.xpath(_NAMED)).strip(), links=tuple(links[: limits.links]), notes=notes)
