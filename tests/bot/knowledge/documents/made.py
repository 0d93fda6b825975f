"""Documents made on the spot: PDF by fpdf2, DOCX by python-docx, with Polish letters where it matters."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import docx
import matplotlib
from fpdf import FPDF

_FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
OPENING = "Klub otwieramy w sobotę o dziesiątej, a źdźbło wiedzy czeka na każdego gościa."


def pdf(*pages: str, outline: dict[int, str] | None = None, title: str = "", password: str = "") -> bytes:
    """A PDF with these pages; `outline` names a page by its number, from 1."""
    made = FPDF()
    made.add_font("DejaVu", fname=_FONT)
    made.set_font("DejaVu", size=12)
    if title:
        made.set_title(title)
    if password:
        made.set_encryption(owner_password=password, user_password=password)
    for number, text in enumerate(pages, 1):
        made.add_page()
        named = (outline or {}).get(number)
        if named:
            made.start_section(named)
            made.cell(text=named, new_x="LMARGIN", new_y="NEXT")
        made.multi_cell(w=0, text=text)
    return bytes(made.output())


def word() -> bytes:
    """A DOCX with a title, two headings, a list, a table and a link."""
    made = docx.Document()
    made.add_heading("Regulamin klubu", level=0)
    made.add_heading("Godziny", level=1)
    made.add_paragraph(OPENING)
    made.add_paragraph("w sobotę od 10", style="List Bullet")
    made.add_paragraph("w niedzielę od 12", style="List Bullet")
    made.add_heading("Składki", level=1)
    rows = (("Kto", "Ile"), ("Dorośli", "50 zł"), ("Młodzież", "20 zł"))
    table = made.add_table(rows=len(rows), cols=2)
    for row, cells in zip(table.rows, rows, strict=True):
        for cell, text in zip(row.cells, cells, strict=True):
            cell.text = text
    kept = BytesIO()
    made.save(kept)
    return kept.getvalue()
