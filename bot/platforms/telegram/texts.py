"""Sentences that only Telegram needs: its commands, and what stands in panels."""

from __future__ import annotations

from bot.texts import Text

# answering
WELCOME = Text(
    "Ask me something: just write. /help says what else I can do, /privacy what is kept.",
    "Zapytaj mnie o coś: po prostu napisz. /help mówi, co jeszcze potrafię, /privacy, co przechowuję.",
)
NOTHING_TO_STOP = Text("Nothing is being written.", "Nic się teraz nie pisze.")
ASK_HOW = Text("Write your question after the command: /ask …", "Napisz pytanie po poleceniu: /ask …")
QUESTION_EDITED = Text("You changed your question.", "Pytanie zostało zmienione.")
ANSWER_ANEW = Text("Answer it anew", "Odpowiedz na nowo")
WRITE_AGAIN = Text("Write the question again, please.", "Napisz pytanie jeszcze raz, proszę.")
INTERRUPTED = Text(
    "I was restarted in the middle of this. Check whether it was done, and send it again if it was not.",
    "Zostałem uruchomiony ponownie w trakcie tej operacji. Sprawdź, czy została wykonana; "
    "jeśli nie, wyślij ją jeszcze raz.",
)

# votes
REPLY_WITH_BETTER = Text(
    "What was wrong? If you know a better answer, reply to this message with it.",
    "Co było nie tak? Jeśli znasz lepszą odpowiedź, odpowiedz nią na tę wiadomość.",
)

# review and panels
REPLY_WITH_EDIT = Text(
    "Reply to this message with the better answer to turn {turn}.",
    "Odpowiedz na tę wiadomość lepszą odpowiedzią do pytania {turn}.",
)
REVIEW_THIS = Text(
    "Reply to one of my answers, or use /review alone.",
    "Odpowiedz na moją odpowiedź albo użyj samego /review.",
)
IN_PRIVATE = Text("Let us talk about that in private.", "Porozmawiajmy o tym na osobności.")
OPEN_PRIVATE = Text("Open the private chat", "Otwórz czat prywatny")
ADAPTER_USAGE = Text(
    "Write /adapter list, /adapter info name@version, /adapter switch name@version or /adapter rollback.",
    "Napisz /adapter list, /adapter info nazwa@wersja, /adapter switch nazwa@wersja albo /adapter rollback.",
)
RETRAIN_USAGE = Text(
    "Write /retrain now, /retrain now NAME for another adapter, /retrain status or /retrain history.",
    "Napisz /retrain now, /retrain now NAZWA dla innego adaptera, /retrain status albo /retrain history.",
)
WHICH_MODE = Text("How shall I answer you from now on?", "Jak mam Ci odtąd odpowiadać?")
PANEL = Text(
    "**Settings of {name}**\nAdapter: {adapter} (/adapter)\nPersona: {persona}\n"
    "Between two questions of a member: {seconds} s\n{training}\n\n"
    "`/settings persona TEXT` and `/settings cooldown SECONDS` change the rest.",
    "**Ustawienia: {name}**\nAdapter: {adapter} (/adapter)\nPersona: {persona}\n"
    "Między pytaniami jednej osoby: {seconds} s\n{training}\n\n"
    "`/settings persona TEKST` i `/settings cooldown SEKUNDY` zmieniają resztę.",
)
LANGUAGE_AUTO = Text("language of the question", "język pytania")
EVERY_MESSAGE_ON = Text("Every message here is a question", "Każda wiadomość tutaj to pytanie")
EVERY_MESSAGE_OFF = Text("Only when asked", "Tylko gdy ktoś zapyta")
NEWS_ON = Text("Tell moderators news here", "Tutaj nowiny dla moderatorów")
NEWS_OFF = Text("No news for moderators", "Bez nowin dla moderatorów")

# the command menu
STOP_ABOUT = Text("Stop the answer being written", "Zatrzymaj odpowiedź, którą piszę")
PRIVACY_ABOUT = Text(
    "What is kept about you; opt out, export, be forgotten", "Co o Tobie wiem; wypis, dane, zapomnienie"
)
KNOWLEDGE_USAGE = Text(
    "Send a file with /knowledge add as its caption, or answer its message so; or /knowledge add https://…, "
    "/knowledge list, show N, remove N, refresh N.",
    "Wyślij plik z podpisem /knowledge add albo odpowiedz tak na jego wiadomość; albo "
    "/knowledge add https://…, /knowledge list, show N, remove N, refresh N.",
)
CONSOLE_SENT = Text("I have sent you the link privately.", "Wysłałem Ci link prywatnie.")
CONSOLE_START_FIRST = Text(
    "I may not write to you privately yet. Press Start in our private chat, then say /console here again.",
    "Nie mogę jeszcze do Ciebie napisać. Naciśnij Start w prywatnym czacie, a potem napisz tu znów /console.",
)
HELP_ABOUT = Text("What I can do", "Co potrafię")
SETTINGS_ABOUT = Text("How I behave here", "Jak mam się tu zachowywać")
ADAPTER_ABOUT = Text(
    "Which adapter answers here: list, info, switch, rollback",
    "Który adapter odpowiada: list, info, switch, rollback",
)
RETRAIN_ABOUT = Text("Training runs: now, status, history", "Przebiegi treningu: now, status, history")
