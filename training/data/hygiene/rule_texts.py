"""What hygiene's rules, and the reasons why pairs were left out, are called in their reader's language.

The manifest keeps both in English: a rule by the name that turns it off, a reason as `Drop` and `Mend` say
it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from feedback.words import Language

RULES: Final[Mapping[str, str]] = {
    "broken-encoding": "zepsute kodowanie",
    "control-characters": "znaki sterujące",
    "placeholders": "miejsca do wypełnienia",
    "markup-debris": "resztki znaczników",
    "length": "długość",
    "no-answer": "brak odpowiedzi",
    "merged-examples": "sklejone przykłady",
    "impossible-request": "prośba nie do spełnienia",
    "injected": "podrzucone polecenie",
    "toxic": "obelgi i groźby",
    "rude": "nieuprzejmość",
    "wrong-language": "niewłaściwy język",
    "personal-data": "dane osobowe",
    "style": "odbiegający styl",
    "exact-duplicates": "dokładne powtórzenia",
    "near-duplicates": "niemal te same pary",
    "repeated-answer": "powtarzana odpowiedź",
    "contradictions": "sprzeczności",
    "dominating-member": "przewaga jednej osoby",
    "dominating-topic": "przewaga jednego tematu",
}
REASONS: Final[Mapping[str, str]] = {
    "encoding beyond repair": "kodowania nie da się naprawić",
    "encoding repaired": "naprawiono kodowanie",
    "control characters and escapes resolved": "usunięto znaki sterujące i kody znaków",
    "something left to fill in": "coś zostało do wypełnienia",
    "marked as still to do": "oznaczone jako niedokończone",
    "lorem ipsum": "lorem ipsum",
    "placeholder for no input": "słowo zamiast pustego pola",
    "a stack trace": "ślad stosu",
    "headers of a copied chat": "nagłówki skopiowanej rozmowy",
    "log lines": "wiersze dziennika",
    "tokens of a chat template": "tokeny szablonu rozmowy",
    "HTML taken out": "usunięto HTML",
    "question too short": "za krótkie pytanie",
    "question too long": "za długie pytanie",
    "answer too short": "za krótka odpowiedź",
    "answer too long": "za długa odpowiedź",
    "says nothing": "nic nie mówi",
    "points to another answer": "odsyła do innej odpowiedzi",
    "repeats the question": "powtarza pytanie",
    "asks back": "tylko odpowiada pytaniem",
    "another question with its answer inside": "w środku jest inne pytanie z odpowiedzią",
    "a picture wanted": "prośba o obraz",
    "sound wanted": "prośba o dźwięk",
    "a call or message wanted": "prośba o telefon lub wiadomość",
    "a page to be opened": "strona do otwarcia",
    "an attachment that is not there": "załącznik, którego nie ma",
    "gives the system text away": "zdradza tekst systemowy",
    "obeys an injected order": "słucha podrzuconego polecenia",
    "slur": "wyzwisko",
    "abuse": "obelga",
    "threat": "groźba",
    "scorns who asks": "lekceważy pytającego",
    "labelled {label}, written in another language": "oznaczona jako {label}, napisana w innym języku",
    "labelled {label}, written in {other}": "oznaczona jako {label}, napisana w języku {other}",
    "talks of itself as a language model": "mówi o sobie jako o modelu językowym",
    "shouts in capitals": "krzyczy wielkimi literami",
    "exclamation marks": "wykrzykniki",
    "emoji": "emoji",
    "question and answer are there already": "pytanie i odpowiedź już są",
    "nearly the same question has nearly this answer": "niemal to samo pytanie ma niemal tę odpowiedź",
    "one member's, to many questions": "jednej osoby, na wiele pytań",
    "to many different questions": "na wiele różnych pytań",
    "yes and no": "tak i nie",
    "other numbers in the same words": "inne liczby w tych samych słowach",
    "the same words with and without a negation": "te same słowa z przeczeniem i bez",
    "nothing in common": "nic wspólnego",
    "more than a member's share": "ponad udział jednej osoby",
    "more than a topic's share": "ponad udział jednego tematu",
    # kinds of personal data, several with commas between them
    "e-mail": "e-mail",
    "phone": "telefon",
    "IBAN": "IBAN",
    "card": "karta",
    "PESEL": "PESEL",
    "key": "klucz",
    "IP address": "adres IP",
    "mention": "wzmianka",
    # what the split leaves out
    "empty": "puste",
    "same conversation as examination": "ta sama rozmowa co w egzaminie",
    "same question as examination": "to samo pytanie co w egzaminie",
    "near duplicate of examination": "niemal to samo pytanie co w egzaminie",
}
_LABELLED: Final = re.compile(r"labelled (?P<label>\w+), written in (?P<other>another language|\w+)")


def rule_said(name: str, language: Language) -> str:
    """What a rule is called; in English by the name that turns it off."""
    return RULES.get(name, name) if language == "pl" else name


def reason_said(reason: str, language: Language) -> str:
    """A reason that a manifest keeps; one that is not known, of another version, as it is kept."""
    if language == "en":
        return reason
    if found := _LABELLED.fullmatch(reason):
        is_known = found["other"] != "another language"
        kind = "labelled {label}, written in " + ("{other}" if is_known else "another language")
        return REASONS[kind].format(**found.groupdict())
    if reason in REASONS:
        return REASONS[reason]
    return ", ".join(REASONS.get(part, part) for part in reason.split(", "))
