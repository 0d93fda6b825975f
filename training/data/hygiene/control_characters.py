"""Characters that nobody sees (terminal colours, zero-width spaces) and escapes that nobody resolved."""

from __future__ import annotations

import re
from typing import Final

from training.data.hygiene.rule import Drop, Mend, PairRule, each_text
from training.data.pairs import TrainingPair
from training.settings import HygieneSettings

_TERMINAL: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-_]")
_LINE_END: Final = re.compile(r"\r\n?|[\x85\u2028\u2029]")
_UNSEEN: Final = re.compile(
    # C0 without tab and line feed, C1, soft hyphen, zero-width and direction marks, halves of surrogate
    # pairs, byte order mark, tags; the joiners U+200C and U+200D stay, scripts and emoji need them
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ud800-\udfff\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_ESCAPED_LETTER: Final = re.compile(r"\\u[0-9a-fA-F]{4}")
_WITHIN_A_WORD: Final = re.compile(r"[^\W\d_]\\u[0-9a-fA-F]{4}|\\u0[01][0-9a-fA-F]{2}[^\W\d_]")
_ESCAPED_LINE: Final = re.compile(r"\\n(?=\\n|\s|[A-ZĄĆĘŁŃÓŚŹŻ0-9*#\-•])")


def _seen(text: str) -> str:
    if not text.replace("\n", "").isprintable():
        text = _UNSEEN.sub("", _LINE_END.sub("\n", _TERMINAL.sub("", text)))
    # in code an escape is meant; two of them or none, since one may be what is talked about
    if "\\" in text and "`" not in text:
        if "\n" not in text and len(_ESCAPED_LINE.findall(text)) >= 2:
            text = text.replace("\\r\\n", "\n").replace("\\n", "\n").replace("\\t", "\t").replace('\\"', '"')
        if _WITHIN_A_WORD.search(text):
            text = _ESCAPED_LETTER.sub(_letter, text)
    return text


def _letter(escape: re.Match[str]) -> str:
    letter = chr(int(escape[0][2:], 16))
    return letter if letter.isprintable() else ""


def _look(pair: TrainingPair, _: HygieneSettings) -> Drop | Mend | None:
    mended = each_text(pair, _seen)
    return None if mended is pair else Mend(mended, "control characters and escapes resolved")


RULE: Final = PairRule(
    "control-characters",
    "Terminal escapes, control, zero-width and direction characters are taken out; line ends become \\n; "
    "escapes that stand in text as they are (\\n, \\u0142) are resolved, outside code.",
    _look,
)
