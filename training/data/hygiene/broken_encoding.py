"""Text whose encoding went wrong on its way, such as "Å¼Ã³Å‚w" for "żółw": repaired, or else left out."""

from __future__ import annotations

import re
from typing import Final

import ftfy
from ftfy.badness import is_bad

from training.data.hygiene.rule import Drop, Mend, PairRule, each_text
from training.data.pairs import TrainingPair
from training.settings import HygieneSettings

_LOST: Final = "\ufffd"
"""Stands where a decoder met bytes that it did not understand; what they said is gone."""
_UNUSUAL: Final = re.compile("[^\x00-\x7fĄąĆćĘęŁłŃńÓóŚśŹźŻż„”“’–—…·×→]")
"""Mojibake always has characters beyond these, and most texts none: a quick look before ftfy's slow one."""
_ABOUT_ENCODINGS: Final = re.compile(
    r"mojibake|encod|unicode|utf-?8|cp125|latin-?[12]|8859|kodowani", re.IGNORECASE
)
"""Where encodings are the subject, broken text is shown on purpose."""


def _is_bad(text: str) -> bool:
    return not text.isascii() and _UNUSUAL.search(text) is not None and (_LOST in text or is_bad(text))


def _repaired(text: str) -> str:
    return ftfy.fix_encoding(text) if _is_bad(text) else text


def _look(pair: TrainingPair, _: HygieneSettings) -> Drop | Mend | None:
    if not any(map(_is_bad, (pair.instruction, pair.input, pair.output))) or any(
        map(_ABOUT_ENCODINGS.search, (pair.instruction, pair.output))
    ):
        return None
    mended = each_text(pair, _repaired)
    if any(_is_bad(text) for text in (mended.instruction, mended.input, mended.output)):
        return Drop("encoding beyond repair")
    return None if mended is pair else Mend(mended, "encoding repaired")


RULE: Final = PairRule(
    "broken-encoding",
    "Text decoded with the wrong encoding (mojibake) is repaired by ftfy; where characters are lost, the "
    "pair is left out.",
    _look,
)
