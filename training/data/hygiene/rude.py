"""Answers that insult or brush off who asks, in English and Polish.

What `toxic` leaves alone: no slurs or threats, but scorn for the person or the question. A list of what is
said to somebody, not of words, so that an answer may explain what "stupid" means or call a default silly. It
knows no irony; a persona that teases its members turns the rule off.
"""

from __future__ import annotations

import re
from typing import Final

from training.data.hygiene.rule import Drop, PairRule, without_code
from training.data.pairs import TrainingPair
from training.settings import HygieneSettings

_FOOL: Final = r"(?:idiots?|morons?|imbeciles?|fools?|dumbass(?:es)?|dummy|cretins?)"
_SILLY: Final = r"(?:stupid|dumb|idiotic|moronic|silly|ridiculous|pointless|brainless)"
_SILLY_PL: Final = r"(?:głupi\w*|durn\w+|idiotyczn\w+|kretyńsk\w+|debiln\w+|bezsensown\w+)"
_FOOL_PL: Final = (
    r"(?:idiot\w{1,3}|debil\w{0,3}|kretyn\w{0,3}|głup(?:ek|ku|cze|iec)|matoł\w{0,2}|baran\w{0,2})"
)
_RUDE: Final = re.compile(
    rf"""
    \bwhat\s+(?:a|an|kind\s+of)\s+{_SILLY}\s+(?:question|thing\s+to\s+ask)
    | \b(?:such|another|your|this)\s+(?:a\s+)?{_SILLY}\s+questions?\b
    | \bonly\s+(?:an?\s+)?{_FOOL}\s+(?:would|could|asks?)
    | \b(?:you|you['’]re|you\s+are)\s+(?:(?:an?|such\s+an?|really|so|too|just)\s+)*(?:{_FOOL}|stupid|dumb)\b
    | \bare\s+you\s+(?:(?:really|too|that|so|just|an?)\s+)*(?:stupid|dumb|lazy|blind|deaf|dense|{_FOOL})\b
    | \b(?:stop|quit)\s+(?:wasting|bothering)\s+(?:my|our|me|us|everyone)
    | \b(?:do\s+not|don['’]?t)\s+(?:bother|annoy|pester)\s+(?:me|us)\b
    | \bleave\s+me\s+alone\b | \bshut\s+up\b | \bget\s+lost\b
    | \beven\s+(?:a|my)\s+(?:child|kid|toddler|grandmother|baby)\s+(?:knows|could|can|would)
    | ,\s*(?:genius|einstein|{_FOOL})\s*[.!?]?\s*$
    | \blearn\s+to\s+(?:read|google|think)\b | \buse\s+your\s+(?:brain|head)\b
    | \bco\s+za\s+{_SILLY_PL}\s+(?:pytani\w+|pomysł\w*)
    | \b(?:takim\w*|swoim\w*|tym|to)\s+{_SILLY_PL}\s+pytani\w+
    | \btylko\s+{_FOOL_PL}\s+(?:o\s+to\s+)?(?:pyta\w*|zapyta\w*|może)
    | \bjesteś\s+(?:(?:taki|taka|po\s+prostu|chyba|naprawdę)\s+)*(?:{_FOOL_PL}|głupi\w*|ślep\w+|leniw\w+)
    | \b(?:za|zbyt)\s+leniw\w+,?\s+(?:żeby|by|aby)
    | \bnie\s+chce\s+ci\s+się\s+(?:czytać|myśleć|szukać|sprawdzić)
    | \bnie\s+(?:zawracaj|truj)\s+(?:\w+\s+)?(?:głow\w+|gitar\w+|dup\w+)
    | \b(?:przestań|nie)\s+(?:mnie\s+|nas\s+)?(?:zanudza\w+|marnowa\w+|męcz\w*)
    | \bnawet\s+(?:dziecko|przedszkolak|moja\s+babcia)\s+(?:to\s+)?(?:wie|potrafi|umie)
    | ,\s*(?:geniuszu|einsteinie|{_FOOL_PL})\s*[.!?]?\s*$
    | \bzamknij\s+się\b | \bodczep\s+się\b | \bspadaj\b | \bnaucz\s+się\s+(?:czytać|myśleć)\b
    | \brusz\s+głow\w+
    """,
    re.IGNORECASE | re.VERBOSE,
)
_HINTS: Final = (
    *("stupid", "dumb", "idiot", "moron", "imbecile", "fool", "cretin", "silly", "ridiculous"),
    *("pointless", "brainless", "lazy", "blind", "deaf", "dense", "wasting", "bother", "annoy"),
    *("pester", "leave me", "shut up", "get lost", "even a ", "even my ", "genius", "einstein"),
    *("learn to ", "use your ", "głup", "durn", "kretyn", "debil", "bezsens", "matoł", "baran"),
    *("ślep", "leniw", "nie chce ci", "zawraca", "truj", "zanudza", "marnow", "męcz", "nawet "),
    *("geniusz", "zamknij", "odczep", "spadaj", "naucz się", "rusz gł"),
)
"""What every case holds, looked for before the slow pattern."""


def _look(pair: TrainingPair, _: HygieneSettings) -> Drop | None:
    """Drop a pair whose answer scorns who asks or what is asked."""
    small = pair.output.lower()
    if any(map(small.__contains__, _HINTS)) and _RUDE.search(without_code(pair.output)):
        return Drop("scorns who asks")
    return None


RULE: Final = PairRule(
    "rude",
    "An answer that scorns who asks or the question (what a stupid question, nie zawracaj głowy), from an "
    "English and Polish list, is left out.",
    _look,
)
