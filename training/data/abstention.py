"""Whether an answer abstains, saying that it does not know, in English or Polish.

By the phrases with which people and models say so; what is said after them is not looked at.
"""

from __future__ import annotations

import re
from typing import Final

_ABSTENTIONS: Final = re.compile(
    r"""
    \b(?:
      (?:i|we)\s+(?:really\s+|honestly\s+)?(?:do\s+not|don['’]?t|cannot|can['’]?t|could\s+not|couldn['’]?t)
        \s+(?:really\s+)?(?:know|say|tell|answer|be\s+(?:sure|certain)|find|verify|confirm|access|predict)
    | (?:i|we)(?:\s+am|\s+are|['’]m|['’]re)\s+(?:not\s+(?:sure|certain|aware|able)|unable|unsure)
    | (?:i|we)\s+(?:do\s+not|don['’]?t)\s+have\s+(?:\w+\s+){0,3}
        (?:information|access|knowledge|data|way|memory)
    | (?:i|we)\s+have\s+no\s+(?:information|access|way|knowledge|data|idea)
    | no\s+idea
    | (?:there\s+is|there['’]s)\s+no\s+way\s+(?:to\s+know|for\s+me)
    | (?:nobody|no\s+one)\s+(?:can\s+)?knows?
    | (?:that|this|it)\s+(?:is\s+not|isn['’]?t)\s+(?:something\s+i\s+(?:know|can)|known)
    | (?:it\s+is|it['’]s)\s+(?:impossible|not\s+possible)\s+to\s+(?:say|know|tell|predict)
    | nie\s+(?:wiem|mam\s+(?:\w+\s+){0,3}(?:informacji|danych|dostępu|pojęcia|wiedzy|jak)
        |jestem\s+(?:w\s+stanie|pewn[ay])|potrafię|umiem|mogę)
    | nie\s+(?:da\s+się|sposób)\s+(?:tego\s+)?(?:powiedzieć|przewidzieć|stwierdzić|wiedzieć)
    | trudno\s+(?:mi\s+)?powiedzieć
    | nikt\s+(?:tego\s+)?nie\s+wie
    )\b
    """,
    re.IGNORECASE | re.VERBOSE,
)

_HINTS: Final = ("no", "n't", "n’t", "unable", "unsure", "impossible", "nie", "nikt", "trudno")
"""Each abstention contains one of these; looking for them first is ten times quicker."""


def is_abstention(answer: str) -> bool:
    """Whether the answer says that it does not know."""
    lowered = answer.lower()
    return any(hint in lowered for hint in _HINTS) and _ABSTENTIONS.search(answer) is not None
