"""Sentences that only Discord needs: its commands, their options, and what stands in panels and forms."""

from __future__ import annotations

from typing import Any, Final

import discord
from discord import app_commands

from bot.texts import Text

# answering
MAY_NOT_WRITE = Text(
    "I may not write {channel}, so I could not answer you there. Ask a moderator to allow it.",
    "Nie wolno mi pisać {channel}, więc nie mogłem tam odpowiedzieć. Poproś moderatora o uprawnienie.",
)
TEXT_ONLY = Text(
    "I can read text only. Write your question.", "Potrafię czytać tylko tekst. Napisz swoje pytanie."
)
STOPPING = Text("Stopping.", "Zatrzymuję.")
NOTHING_TO_STOP = Text("That answer is finished already.", "Ta odpowiedź jest już gotowa.")
HERE_ALREADY = Text("We are in a thread already.", "Jesteśmy już w wątku.")
GO_ON_HERE = Text("Let us go on in {thread}.", "Kontynuujmy w {thread}.")
NO_THREAD = Text(
    "I may not open a thread here. Ask a moderator to allow it.",
    "Nie wolno mi tu otworzyć wątku. Poproś moderatora o uprawnienie.",
)
NOT_AN_ANSWER = Text("That message is no answer of mine.", "Ta wiadomość nie jest moją odpowiedzią.")

# names and descriptions of the commands
ASK = Text("ask", "zapytaj")
ASK_ABOUT = Text("Ask me something", "Zapytaj mnie o coś")
QUESTION = Text("question", "pytanie")
QUESTION_ABOUT = Text("What you would like to know", "Co chcesz wiedzieć")
MODE = Text("mode", "tryb")
MODE_ONCE = Text("How this one answer is written", "Jak napisać tę jedną odpowiedź")
MODE_ABOUT = Text("How I answer you from now on", "Jak mam Ci odtąd odpowiadać")
PRIVACY = Text("privacy", "prywatność")
PRIVACY_ABOUT = Text(
    "What is kept about you; stay out of training, get your data, be forgotten",
    "Co o Tobie przechowujemy; wypisz się z uczenia, pobierz dane, każ zapomnieć",
)
ABOUT = Text("about", "o-bocie")
ABOUT_ABOUT = Text("Which adapter answers here, since when", "Który adapter tu odpowiada i od kiedy")
STATS = Text("stats", "statystyki")
STATS_ABOUT = Text("How it goes here: questions, votes, reviews", "Jak idzie: pytania, głosy, oceny")
REVIEW = Text("review", "ocena")
REVIEW_ABOUT = Text("The next answer that waits for a review", "Następna odpowiedź czekająca na ocenę")
REVIEW_THIS = Text("Review this answer", "Oceń tę odpowiedź")
SETTINGS = Text("settings", "ustawienia")
SETTINGS_ABOUT = Text("How I behave on this server", "Jak mam się zachowywać na tym serwerze")
ADAPTER = Text("adapter", "adapter")
ADAPTER_ABOUT = Text(
    "Which adapters there are, and which one answers here", "Jakie są adaptery i który odpowiada"
)
ADAPTER_LIST = Text("list", "lista")
ADAPTER_LIST_ABOUT = Text("All adapters with their examinations", "Wszystkie adaptery z wynikami egzaminów")
ADAPTER_INFO = Text("info", "info")
ADAPTER_INFO_ABOUT = Text("All about one adapter", "Wszystko o jednym adapterze")
ADAPTER_SWITCH = Text("switch", "przełącz")
ADAPTER_SWITCH_ABOUT = Text("Let another adapter answer here", "Niech odpowiada tu inny adapter")
ADAPTER_ROLLBACK = Text("rollback", "cofnij")
ADAPTER_ROLLBACK_ABOUT = Text(
    "Let the adapter before this one answer again", "Niech znów odpowiada poprzedni adapter"
)
WHICH_ADAPTER = Text("name@version, or base", "nazwa@wersja albo base")
RETRAIN = Text("retrain", "trening")
RETRAIN_ABOUT = Text("Training runs", "Przebiegi treningu")
RETRAIN_NOW = Text("now", "teraz")
RETRAIN_NOW_ABOUT = Text("Start a training run", "Rozpocznij trening")
RETRAIN_STATUS = Text("status", "stan")
RETRAIN_STATUS_ABOUT = Text("How far the newest run is", "Jak daleko jest najnowszy przebieg")
RETRAIN_HISTORY = Text("history", "historia")
RETRAIN_HISTORY_ABOUT = Text("The last runs and their verdicts", "Ostatnie przebiegi i ich werdykty")


def localised(text: Text) -> app_commands.locale_str:
    """The text for Discord's own localisation; `Translations` finds the Polish in it."""
    return app_commands.locale_str(text.en, pl=text.pl)


class Translations(app_commands.Translator):
    """Gives Discord the Polish of every `localised` name and description."""

    async def translate(
        self,
        string: app_commands.locale_str,
        locale: discord.Locale,
        context: app_commands.TranslationContext[Any, Any],
    ) -> str | None:
        """The text in that language; None leaves the English."""
        polish: Final = string.extras.get("pl")
        return str(polish) if polish and locale is discord.Locale.polish else None
