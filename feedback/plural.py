"""Numbers with their nouns, in the form that English or Polish has for that number. Imports nothing."""

from __future__ import annotations


def plural(number: int, *forms: str) -> str:
    """The form of a noun, or of more words, for `number`.

    English has two (pair, pairs); one form gets an s. Polish has three (para, pary, par): for one, for two to
    four at the end but for 12 to 14, and for the rest.
    """
    if len(forms) < 3:
        one, many = forms if len(forms) == 2 else (forms[0], f"{forms[0]}s")
        return one if number == 1 else many
    one, few, many = forms
    if number == 1:
        return one
    return few if number % 10 in (2, 3, 4) and number % 100 not in (12, 13, 14) else many


def counted(number: int, *forms: str) -> str:
    """`number` with the noun in its form: "1 pair", "2,000 pairs"; in Polish thousands stand apart."""
    digits = f"{number:,}" if len(forms) < 3 else f"{number:,}".replace(",", "\N{NO-BREAK SPACE}")
    return f"{digits} {plural(number, *forms)}"
