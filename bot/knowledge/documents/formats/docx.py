"""DOCX: mammoth makes HTML of it (styles become headings, deletions go), and HTML's parser does the rest."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import replace
from io import BytesIO
from typing import Final
from xml.parsers.expat import ExpatError

import mammoth

from bot.knowledge.documents.formats import html
from bot.knowledge.documents.pieces import Contents, Unreadable

_STYLES: Final = "\n".join(
    ["p[style-name='Title'] => h1:fresh"]
    + [f"p[style-name='Heading {level}'] => h{min(level + 1, 6)}:fresh" for level in range(1, 7)]
)
"""The document's title stands above its headings."""

_BROKEN: Final = (
    zipfile.BadZipFile,
    zlib.error,
    ExpatError,
    EOFError,
    KeyError,
    OSError,
    NotImplementedError,
    ValueError,
)
"""What mammoth and the libraries under it raise over an archive or its XML."""


def parse(content: bytes) -> Contents:
    """The blocks of a Word document. Raises Unreadable."""
    try:
        page = mammoth.convert_to_html(
            BytesIO(content),
            style_map=_STYLES,
            convert_image=mammoth.images.img_element(lambda image: {}),
            external_file_access=False,
        ).value
    except _BROKEN as error:
        raise Unreadable("broken", str(error)) from None
    contents = html.parse(f"<main>{page}</main>")
    first = next((block.text for block in contents.blocks if block.kind == "heading"), "")
    return replace(contents, format="docx", title=contents.title or first)
