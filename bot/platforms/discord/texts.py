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
HERE_ALREADY = Text("We are in a thread already.", "Jesteśmy już w wątku.")
GO_ON_HERE = Text("Let us go on in {thread}.", "Kontynuujmy w {thread}.")
NO_THREAD = Text(
    "I may not open a thread here. Ask a moderator to allow it.",
    "Nie wolno mi tu otworzyć wątku. Poproś moderatora o uprawnienie.",
)
NOT_AN_ANSWER = Text("That message is no answer of mine.", "Ta wiadomość nie jest moją odpowiedzią.")

# panels
EXAMINATION = Text("Examination", "Egzamin")
DATASET = Text("Dataset", "Zbiór danych")
SERVES_EVERYWHERE = Text("Answers on every server since", "Odpowiada na wszystkich serwerach od")
WHOLE_TEXT = Text("The whole text is attached.", "Cały tekst jest w załączniku.")
EDIT_TITLE = Text("The better answer", "Lepsza odpowiedź")
EDIT_PART = Text("Answer, part {part}", "Odpowiedź, część {part}")
PANEL = Text("Settings of {name}", "Ustawienia: {name}")
PANEL_ADAPTER = Text(
    "Adapter: **{adapter}** (change it with /adapter switch)",
    "Adapter: **{adapter}** (zmienisz go przez /adapter switch)",
)
PANEL_PERSONA = Text("Persona: {persona}", "Persona: {persona}")
PANEL_COOLDOWN = Text(
    "Between two questions of a member: {seconds} s", "Między pytaniami jednej osoby: {seconds} s"
)
PANEL_TRAINING_ON = Text(
    "Answers from here that moderators approve **may train** the bot.",
    "Zatwierdzone stąd odpowiedzi **mogą uczyć** bota.",
)
PANEL_TRAINING_OFF = Text("Nothing from here trains the bot.", "Nic stąd nie uczy bota.")
LANGUAGE = Text("Language", "Język")
LANGUAGE_AUTO = Text("the language of the question", "język pytania")
DEFAULT_MODE = Text("How answers are written", "Jak pisane są odpowiedzi")
OWN_CHANNELS = Text(
    "Channels where every message is a question", "Kanały, w których każda wiadomość to pytanie"
)
MODERATOR_ROLES = Text("Roles that moderate", "Role, które moderują")
LOG_CHANNEL = Text("Channel for announcements of switches", "Kanał ogłoszeń o przełączeniach")
PERSONA = Text("Persona", "Persona")
COOLDOWN = Text("Cooldown", "Odstęp")
PERSONA_LABEL = Text("A packaged name or the text itself", "Nazwa gotowej persony albo jej treść")
COOLDOWN_LABEL = Text("Seconds between two questions of a member", "Sekundy między pytaniami jednej osoby")

# names and descriptions of the commands
ASK = Text("ask", "zapytaj")
QUESTION = Text("question", "pytanie")
QUESTION_ABOUT = Text("What you would like to know", "Co chcesz wiedzieć")
MODE = Text("mode", "tryb")
MODE_ONCE = Text("How this one answer is written", "Jak napisać tę jedną odpowiedź")
PRIVACY = Text("privacy", "prywatność")
PRIVACY_ABOUT = Text(
    "What is kept about you; stay out of training, get your data, be forgotten",
    "Co o Tobie przechowujemy; wypisz się z uczenia, pobierz dane, każ zapomnieć",
)
ABOUT = Text("about", "o-bocie")
KNOWLEDGE = Text("knowledge", "wiedza")
KNOWLEDGE_ADD = Text("add", "dodaj")
KNOWLEDGE_ADD_ABOUT = Text("Add a file, or the address of a page", "Dodaj plik albo adres strony")
KNOWLEDGE_FILE = Text("file", "plik")
KNOWLEDGE_FILE_ABOUT = Text(
    "Markdown, HTML, PDF, DOCX, text, or CSV of questions and answers",
    "Markdown, HTML, PDF, DOCX, tekst albo CSV z pytaniami i odpowiedziami",
)
KNOWLEDGE_LINK = Text("link", "link")
KNOWLEDGE_LINK_ABOUT = Text("A page, a sitemap or a feed", "Strona, mapa witryny albo kanał")
KNOWLEDGE_LIST = Text("list", "lista")
KNOWLEDGE_LIST_ABOUT = Text("All documents with their numbers", "Wszystkie dokumenty z numerami")
KNOWLEDGE_SHOW = Text("show", "pokaż")
KNOWLEDGE_SHOW_ABOUT = Text("What a document says", "Co mówi dokument")
KNOWLEDGE_REMOVE = Text("remove", "usuń")
KNOWLEDGE_REMOVE_ABOUT = Text("Take a document out", "Usuń dokument")
KNOWLEDGE_REFRESH = Text("refresh", "odśwież")
KNOWLEDGE_REFRESH_ABOUT = Text("Read a document, or all, anew", "Wczytaj dokument albo wszystkie na nowo")
KNOWLEDGE_DOCUMENT = Text("document", "dokument")
KNOWLEDGE_DOCUMENT_ABOUT = Text("Its number in the list", "Jego numer na liście")
KNOWLEDGE_WHAT = Text(
    "Say which: attach a file, or give an address that begins with https://.",
    "Podaj co: dołącz plik albo adres zaczynający się od https://.",
)
CONSOLE = Text("console", "konsola")
STATS = Text("stats", "statystyki")
REVIEW = Text("review", "ocena")
RATE = Text("rate", "noty")
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
WHICH_TO_TRAIN = Text(
    "Which of several adapters; without it, the usual one", "Który z kilku adapterów; bez tego zwykły"
)
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
