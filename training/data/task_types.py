"""What kind of answer a question wants, and a pair has: by rules over words, English and Polish.

`asked_for` knows the question and the mode only, so serving and training can both ask it, and the prompt
may depend on it. `of_pair` sees the answer too; it labels pairs that nobody labelled. The same texts give the
same type.
"""

from __future__ import annotations

import re
from typing import Final

from feedback.words import Mode, TaskType
from training.data import abstention

_BY_MODE: Final[dict[Mode, TaskType]] = {
    "code": "code",
    "checklist": "checklist",
    "deep-dive": "explanation",
}
_WANTS_CODE: Final = re.compile(
    r"\b(?:write|show|give|send|post)\b[^.?!]{0,40}\b(?:code|snippet|script|function|regex|query)\b"
    r"|\bcode (?:example|snippet|sample)\b|\bin (?:python|bash|sql|javascript|typescript|rust|java)\s*[?.!]*$"
    r"|\b(?:napisz|pokaż|pokaz|podaj|daj|wyślij|wrzuć)\b[^.?!]{0,40}"
    r"\b(?:kod\w*|skrypt\w*|funkcj\w+|fragment\w* kodu|zapytani\w+ sql|wyrażeni\w+ regularn\w+)\b"
    r"|\bprzykład\w* kodu\b",
    re.IGNORECASE,
)
_WANTS_CHECKLIST: Final = re.compile(
    r"\bcheck[- ]?list\b|\bto-?do list\b|\blist (?:of|the) (?:the )?steps\b"
    r"|\blist\w* kontroln\w+\b|\bcheck-?list[aęyo]\w*\b|\blist\w* kroków\b|\bco odhaczyć\b",
    re.IGNORECASE,
)
_WANTS_EXPLANATION: Final = re.compile(
    r"^\W*(?:why|explain|describe)\b|\b(?:can|could) (?:you|someone|anyone) explain\b"
    r"|\bexplain (?:how|why|what)\b"
    r"|\bhow (?:does|do) [^?]{1,60}\bwork\b|\bwhat(?:'s| is| are) the difference\b|\bintuition behind\b"
    r"|^\W*(?:dlaczego|czemu|wyjaśnij|wyjasnij|wytłumacz|wytlumacz|opisz)\b"
    r"|\bjak (?:to )?działa\w*\b|\bczym (?:się )?różni\w*\b|\bna czym polega\w*\b",
    re.IGNORECASE,
)
_FENCE: Final = re.compile(r"^\s*(?:```|~~~)", re.MULTILINE)
_ITEM: Final = re.compile(r"^\s*(?:[-*•]|\d{1,2}[.)]|\[[ xX]?\])\s+\S", re.MULTILINE)

LEAST_ITEMS: Final = 3
"""Lines that begin as an item from which an answer is a checklist."""
LEAST_EXPLANATION: Final = 60
"""Words from which an answer explains, whatever was asked; whoever says so much knows something."""
ABSTAINS_WITHIN: Final = 200
"""Characters of an answer within which it says that it does not know; later on that is a remark."""


def asked_for(question: str, mode: Mode) -> TaskType:
    """What the question itself asks for; the mode, where one was chosen, decides."""
    if mode in _BY_MODE:
        return _BY_MODE[mode]
    if _WANTS_CODE.search(question):
        return "code"
    if _WANTS_CHECKLIST.search(question):
        return "checklist"
    if _WANTS_EXPLANATION.search(question):
        return "explanation"
    return "qa"


def is_said(task_type: str, *, labelled: bool) -> bool:
    """Whether a turn's task type is somebody's word: "qa" is also what stands where nobody said anything."""
    return labelled or task_type != "qa"


def of_pair(question: str, answer: str, mode: Mode) -> TaskType:
    """What a question and its answer are together; what the answer is outweighs what was asked for."""
    words = len(answer.split())
    if words < LEAST_EXPLANATION and abstention.is_abstention(answer[:ABSTAINS_WITHIN]):
        return "not-knowing"
    if _FENCE.search(answer):
        return "code"
    asked = asked_for(question, mode)
    items = len(_ITEM.findall(answer))
    if items >= LEAST_ITEMS and asked != "explanation":
        return "checklist"
    if asked == "qa" and words >= LEAST_EXPLANATION:
        return "explanation"
    return asked
