"""Slurs against groups, abuse of a person and threats, in English and Polish.

A short list of plain cases, not a judgement of tone: it knows no irony, and what a community finds rude is
its moderators' to reject. Swear words alone pass; so do the words of the trade (kill a process, slave node).
"""

from __future__ import annotations

import re
from typing import Final

from training.data.hygiene.rule import Drop, PairRule
from training.data.pairs import TrainingPair
from training.settings import HygieneSettings

_SLUR: Final = re.compile(
    r"\b(?:nigg(?:er|a)s?|faggots?|kikes?|gooks?|wetbacks?|ragheads?|towelheads?|spics|chinks|czarnuch\w*"
    r"|ciapa(?:t|k)\w*|jeban[ye] pedał\w*|cwel\w{0,4}|ciot[ay]|żydzi do gazu|kacap\w*)\b"
)
_ABUSE: Final = re.compile(
    r"\b(?:(?:go )?fuck (?:you|yourself)|you (?:fucking|stupid|worthless) (?:bitch|idiot|moron|cunt|whore"
    r"|retard"
    r"|piece)|you(?:['’]re| are)? (?:a )?(?:piece of shit|retards?)|(?:s|wy)pierdalaj\w*"
    r"|ty (?:debil|idio[ct]|kretyn|szmat|śmieci)\w*|kurwo\b|jebać (?:cię|was|ich|żyd|ukr|ciapat|cygan"
    r"|arab)\w*)"
)
_THREAT: Final = re.compile(
    r"\b(?:(?:i['’]?ll|i will|i['’]?m (?:going to|gonna)|we will) (?:kill|rape) you\w*|kill yourself|kys"
    r"|(?:just )?go die|you should die|i hope you die|zabij[eę] (?:cię|was)|zabij się|zdechnij\w*"
    r"|powin(?:ieneś|naś) umrzeć|zgwałc(?:ę|imy))\b"
)
_KINDS: Final = (
    (
        "slur",
        "nigg faggot kike gook wetback raghead towelhead spics chinks czarnuch ciapa pedał cwel "
        "ciot gazu kacap",
        _SLUR,
    ),
    (
        "abuse",
        "fuck stupid worthless shit retard pierdalaj kurwo jebać debil idio kretyn szmat śmieci",
        _ABUSE,
    ),
    ("threat", "kill kys die rape zabij zdechnij umrzeć zgwałc", _THREAT),
)
"""Kind, what its words begin with (a quick look before the slow one), and the words, in small letters."""
_QUICK: Final = tuple((why, tuple(hints.split()), pattern) for why, hints, pattern in _KINDS)


def _look(pair: TrainingPair, _: HygieneSettings) -> Drop | None:
    text = f"{pair.instruction}\n{pair.input}\n{pair.output}".lower()
    for why, hints, pattern in _QUICK:
        if any(map(text.__contains__, hints)) and pattern.search(text):
            return Drop(why)
    return None


RULE: Final = PairRule(
    "toxic",
    "Pairs with slurs, abuse of a person or threats, from a short English and Polish list, are left out.",
    _look,
)
