"""Slurs against groups, abuse of a person and threats, in English and Polish.

A short list of plain cases, not a judgement of tone: it knows no irony, and what a community finds rude is
its moderators' to reject. Swear words alone pass; so do the words of the trade (kill a process, slave node).
"""

from __future__ import annotations

import re
from typing import Final

from training.hygiene.rule import Drop, PairRule
from training.pairs import TrainingPair
from training.settings import HygieneSettings

_KINDS: Final = (
    (
        "slur",
        (
            *(
                "nigger",
                "nigga",
                "faggot",
                "kike",
                "tranny",
                "gook",
                "wetback",
                "raghead",
                "towelhead",
                "spics",
                "chinks",
            ),
            *(
                "retards",
                "czarnuch",
                "ciapat",
                "ciapak",
                "pedały",
                "jebany pedał",
                "jebane pedały",
                "cwel",
                "ciota",
                "cioty",
            ),
            *("żydzi do gazu", "do gazu z", "parchy", "kacap"),
        ),
        r"\b(?:nigg(?:er|a)s?|faggots?|kikes?|trann(?:y|ies)|gooks?|wetbacks?|ragheads?|towelheads?|spics"
        r"|chinks|retards"
        r"|czarnuch\w*|ciapa(?:t|k)\w*|pedały|jeban[ye] pedał\w*|cwel\w{0,4}|ciot[ay]|żydzi do gazu"
        r"|do gazu z|parchy|kacap\w*)\b",
    ),
    (
        "abuse",
        (
            *(
                "fuck you",
                "fuck yourself",
                "you fucking",
                "you stupid",
                "piece of shit",
                "you retard",
                "you worthless",
            ),
            *(
                "spierdalaj",
                "wypierdalaj",
                "kurwo",
                "ty debil",
                "ty idio",
                "ty kret",
                "ty szmat",
                "ty śmie",
                "jebać",
            ),
        ),
        r"\b(?:(?:go )?fuck (?:you|yourself)|you (?:fucking|stupid|worthless) (?:bitch|idiot|moron|cunt"
        r"|whore|retard|piece)"
        r"|you(?:['’]re| are)? (?:a )?(?:piece of shit|retard)|(?:s|wy)pierdalaj\w*|ty (?:debil|idio[ct]"
        r"|kretyn|szmat|śmieci)\w*"
        r"|(?:ty )?kurwo|jebać (?:cię|was|ich|żyd|ukr|ciapat|cygan|arab)\w*)",
    ),
    (
        "threat",
        (
            *(
                "kill you",
                "kill yourself",
                "kys",
                "go die",
                "you should die",
                "hope you die",
                "rape you",
                "zabiję cię",
            ),
            *(
                "zabije cię",
                "zabij się",
                "zabiję was",
                "zdechnij",
                "powinieneś umrzeć",
                "powinnaś umrzeć",
                "zgwałc",
            ),
        ),
        r"\b(?:(?:i['’]?ll|i will|i['’]?m going to|gonna|we will) (?:kill|rape) you\w*|kill yourself|kys"
        r"|(?:just )?go die"
        r"|you should die|i hope you die|zabij[eę] (?:cię|was)|zabij się|zdechnij\w*|powin(?:ieneś"
        r"|naś) umrzeć|zgwałc(?:ę|imy))\b",
    ),
)
_PATTERNS: Final = tuple((why, hints, re.compile(pattern, re.IGNORECASE)) for why, hints, pattern in _KINDS)


def _look(pair: TrainingPair, _: HygieneSettings) -> Drop | None:
    text = f"{pair.instruction}\n{pair.input}\n{pair.output}".lower()
    for why, hints, pattern in _PATTERNS:
        if any(hint in text for hint in hints) and pattern.search(text):
            return Drop(why)
    return None


RULE: Final = PairRule(
    "toxic",
    "Pairs with slurs, abuse of a person or threats, from a short English and Polish list, are left out.",
    _look,
)
