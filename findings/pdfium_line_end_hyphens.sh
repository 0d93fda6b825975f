#!/usr/bin/env bash
# A hyphen at the end of a PDF's line does not come out of PDFium as a hyphen.
#
# Guess: the text of a page has the characters that were drawn on it, so a word divided at a line's end comes
# as "infor-", a line break, and "mation", and rejoining words is up to the reader.
# Behaviour (pypdfium2 5.15.2, PDFium's FPDFText_*): where a letter follows in the next line, hyphen and line
# break are replaced by one mark, so the line is joined already. The mark differs between the two ways to the
# text: get_text_range() gives the noncharacter U+FFFE, get_text_bounded() the control character U+0002.
# It stands for a word's own hyphen as well ("well-known", "Non-EU"), so whoever drops control characters
# writes "wellknown" and "NonEU". Before a digit ("10-" / "20") hyphen and line break both stay.
# Output seen: range 'infor\ufffemation well\ufffeknown Non\ufffeEU 10-\r\n20', bounded the same with \x02.
# Source: https://pypdfium2.readthedocs.io/en/stable/python_api.html (PdfTextPage), and running this.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check pypdfium2==5.15.2 fpdf2==2.8.9
"$place/venv/bin/python" - <<'PYTHON'
import pypdfium2
from fpdf import FPDF

made = FPDF()
made.add_page()
made.set_font("helvetica", size=12)
for line in ("infor-", "mation well-", "known Non-", "EU 10-", "20"):
    made.cell(text=line, new_x="LMARGIN", new_y="NEXT")
page = pypdfium2.PdfDocument(bytes(made.output()))[0].get_textpage()
expected = "infor{0}mation well{0}known Non{0}EU 10-\r\n20"
assert page.get_text_range() == expected.format("\ufffe"), repr(page.get_text_range())
assert page.get_text_bounded() == expected.format("\x02"), repr(page.get_text_bounded())
print("PDFium gives a line-end hyphen as U+FFFE (range) or U+0002 (bounded), a word's own hyphen too")
PYTHON
