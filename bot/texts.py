"""Sentences that the bot says on every platform, in English and Polish, and errors told to members.

Operators and the command line read errors in English; members read them in their community's language.
"""

from __future__ import annotations

from typing import Final

from bot.errors import (
    AdapterRefused,
    AnsweringError,
    AnsweringFailed,
    BeingAnswered,
    Busy,
    ConsoleNotReachable,
    DocumentRefused,
    DocumentsOff,
    EmptyQuestion,
    NotAllowed,
    NotFetched,
    NotTheAsker,
    NotYourCard,
    Obstacle,
    PromptTooLong,
    QuestionTooLong,
    Refusal,
    TookTooLong,
)
from feedback.errors import AlreadyClaimed, AlreadyDecided, Conflict, NotFound, ThumbloopError
from feedback.text import Text as Text
from feedback.words import Language, Mode, RatingScale, VoteReason
from training.errors import NotTrainedHere

NOT_KNOWN: Final = Text(
    "I don't know: nothing that this community's moderators approved, and none of its documents, answers that. The moderators see your question.",
    "Nie wiem: nie odpowiada na to nic, co zatwierdzili moderatorzy tej społeczności, ani żaden jej dokument. Moderatorzy zobaczą twoje pytanie.",
)
NOT_KNOWN_ASK: Final = Text("Until then, ask here: {where}", "Na razie zapytaj tutaj: {where}")

MODES: Final[dict[Mode, Text]] = {
    "default": Text("Default", "Domyślnie"),
    "tldr": Text("TL;DR", "W skrócie"),
    "deep-dive": Text("Deep dive", "Dogłębnie"),
    "code": Text("Code", "Kod"),
    "checklist": Text("Checklist", "Lista kroków"),
}
REASONS: Final[dict[VoteReason, Text]] = {
    "wrong facts": Text("Wrong facts", "Błędne fakty"),
    "tone": Text("Tone", "Ton"),
    "not helpful": Text("Not helpful", "Niepomocna"),
    "unsafe": Text("Unsafe", "Niebezpieczna"),
}

# while answering
STOPPED = Text("Stopped.", "Zatrzymano.")
EMPTY_ANSWER = Text("I have no answer to that.", "Nie mam na to odpowiedzi.")
COOLDOWN = Text("One moment: ask again in {seconds} s.", "Chwileczkę: zapytaj ponownie za {seconds} s.")
TEXT_ONLY = Text(
    "I can read text only. Write your question.", "Potrafię czytać tylko tekst. Napisz swoje pytanie."
)
NOT_READ = Text(
    "I did not read: {names}. I can read text only.", "Nie przeczytano: {names}. Potrafię czytać tylko tekst."
)
SHORTENED = Text(
    "I read only the beginning of: {names}. The rest is more than I take.",
    "Przeczytano tylko początek: {names}. Reszta się nie zmieści.",
)
WAS_AWAY = Text(
    "I was away when you asked. Ask again if it still matters.",
    "Nie było mnie, gdy padło to pytanie. Zapytaj ponownie, jeśli to wciąż ważne.",
)
RECORD_AWAY = Text(
    "I cannot answer just now, because my database is out of reach. Your question is kept: the answer comes here as soon as the database is back.",
    "Nie mogę teraz odpowiedzieć, bo moja baza danych jest niedostępna. Pytanie nie przepadnie: odpowiedź pojawi się tutaj, gdy tylko baza wróci.",
)
OUT_OF_TIME = Text(
    "I ran out of time here. Continue goes on from this point, Regenerate begins again.",
    "Tu zabrakło mi czasu. Kontynuuj podejmie od tego miejsca, Wygeneruj ponownie zacznie od nowa.",
)
GO_ON = Text("Go on from where you stopped.", "Kontynuuj od miejsca, w którym przerwano.")
TOOK_TOO_LONG = Text(
    "This took too long, so I stopped. Ask again; if it goes on, tell the operator the reference {reference}.",
    "Trwało to za długo, więc przerwałem. Zapytaj ponownie; jeśli to się powtarza, podaj numer {reference}.",
)

# buttons and votes
HELPFUL = Text("Helpful", "Pomocna")
NOT_HELPFUL = Text("Not helpful", "Niepomocna")
REGENERATE = Text("Regenerate", "Wygeneruj ponownie")
CONTINUE = Text("Continue", "Kontynuuj")
STOP = Text("Stop", "Zatrzymaj")
STOPPING = Text("Stopping.", "Zatrzymuję.")
ANSWER_FINISHED = Text("That answer is finished already.", "Ta odpowiedź jest już gotowa.")
VOTE_KEPT = Text("Noted, thank you.", "Zapisane, dziękuję.")
VOTE_TAKEN_BACK = Text("Your vote is taken back.", "Twój głos został wycofany.")
WHAT_WAS_WRONG = Text("What was wrong?", "Co było nie tak?")
BETTER_ANSWER = Text("A better answer, if you know one", "Lepsza odpowiedź, jeśli ją znasz")
ONLY_THE_ASKER = Text("Only the person who asked may do that.", "Może to zrobić tylko osoba, która zapytała.")
NO_LONGER_THERE = Text("That answer is no longer kept.", "Tej odpowiedzi już nie przechowujemy.")

# rights
MODERATORS_ONLY = Text("Only moderators may do that.", "Mogą to robić tylko moderatorzy.")
ADMINISTRATORS_ONLY = Text("Only administrators may do that.", "Mogą to robić tylko administratorzy.")
OPERATORS_ONLY = Text("Only the bot's operators may do that.", "Mogą to robić tylko operatorzy bota.")
ONLY: Final = {
    "moderator": MODERATORS_ONLY,
    "administrator": ADMINISTRATORS_ONLY,
    "operator": OPERATORS_ONLY,
}
"""Who may do something, by the role that it takes."""

# training and privacy
TRAINING_ON = Text(
    "From now on, answers here that moderators approve may train this bot. /privacy says what is kept and how "
    "to stay out.",
    "Od teraz zatwierdzone tu odpowiedzi mogą uczyć tego bota. /privacy mówi, co przechowujemy i jak się wypisać.",
)
TRAINING_OFF = Text("Talk here is no longer used for training.", "Rozmowy stąd nie służą już do uczenia.")
WHAT_IS_KEPT = Text(
    "Kept are your questions to me, my answers, your votes with reasons, and when; you appear under a pseudonym, "
    "never your name or account. {training} You may stay out of training, have your data, or be forgotten.",
    "Przechowujemy Twoje pytania do mnie, moje odpowiedzi, Twoje głosy z powodami i czas; występujesz pod "
    "pseudonimem, nigdy pod nazwą czy kontem. {training} Możesz wypisać się z uczenia, pobrać swoje dane albo "
    "kazać o sobie zapomnieć.",
)
MAY_TRAIN = Text(
    "What moderators approve may train this bot.", "To, co zatwierdzą moderatorzy, może uczyć tego bota."
)
MAY_NOT_TRAIN = Text("Nothing from here trains this bot.", "Nic stąd nie uczy tego bota.")
YOU_ARE_OUT = Text("Your words stay out of training.", "Twoje słowa nie służą do uczenia.")
YOU_ARE_IN = Text(
    "Your approved words may be used for training.", "Twoje zatwierdzone słowa mogą służyć do uczenia."
)
OPT_OUT = Text("Stay out of training", "Wypisz mnie z uczenia")
OPT_IN = Text("Allow training", "Zezwól na uczenie")
EXPORT = Text("My data", "Moje dane")
FORGET = Text("Forget me", "Zapomnij o mnie")
FORGET_SURE = Text(
    "Erase everything you said to me? This cannot be undone.",
    "Usunąć wszystko, co do mnie napisano? Tego nie da się cofnąć.",
)
FORGOTTEN = Text(
    "Done: {turns:question with its answer is|questions with their answers are} erased, and future training will not use them.",
    "Gotowe: usunięto {turns:pytanie z odpowiedzią|pytania z odpowiedziami|pytań z odpowiedziami}; dalsze uczenie ich nie użyje.",
)
NOTHING_KEPT = Text("Nothing about you is kept here.", "Nie przechowujemy tu niczego o Tobie.")
MODE_SET = Text("From now on I answer you in this mode: {mode}.", "Od teraz odpowiadam Ci w trybie: {mode}.")

CANCELLED = Text("Nothing was changed.", "Nic nie zmieniono.")
CANCEL = Text("Cancel", "Anuluj")
FORGET_ME = Text("Yes, forget me", "Tak, zapomnij o mnie")

# settings
OPERATORS_PERSONA = Text("the operator's", "ustawiona przez operatora")
NOT_A_NUMBER = Text("That is no number of seconds.", "To nie jest liczba sekund.")
TRAINING_SWITCH_OFF = Text("Forbid training", "Zabroń uczenia")

# what commands are for
ASK_ABOUT = Text("Ask me something", "Zapytaj mnie o coś")
MODE_ABOUT = Text("How I answer you from now on", "Jak mam Ci odtąd odpowiadać")
ABOUT_ABOUT = Text("Which adapter answers here, since when", "Który adapter tu odpowiada i od kiedy")
KNOWLEDGE_ABOUT = Text("What I am given to read", "Co daliście mi do czytania")
PASSAGES = Text("{passages:passage|passages}", "{passages:fragment|fragmenty|fragmentów}")
DOCUMENT_HOLDS = Text(
    "{documents:document|documents}, {passages:passage|passages}",
    "{documents:dokument|dokumenty|dokumentów}, {passages:fragment|fragmenty|fragmentów}",
)
DOCUMENT_ADDED = Text(
    "{name} is in: {passages:passage|passages}, known from the next answer on.",
    "{name} dodano: {passages:fragment|fragmenty|fragmentów}; bot zna to od następnej odpowiedzi.",
)
DOCUMENT_CHANGED = Text(
    "{name} was read anew: {passages:passage|passages}.",
    "{name} wczytano na nowo: {passages:fragment|fragmenty|fragmentów}.",
)
DOCUMENT_UNCHANGED = Text("{name} has not changed.", "{name} nie zmienił się.")
DOCUMENT_REMOVED = Text(
    "{name} is gone; the next answer knows nothing of it.",
    "{name} usunięto; następna odpowiedź już go nie zna.",
)
DOCUMENTS_TAKEN = Text(
    "{name}: {added} new, {changed} changed, {unchanged} as before.",
    "{name}: nowe {added}, zmienione {changed}, bez zmian {unchanged}.",
)
DOCUMENTS_GONE = Text("{removed} no longer there.", "Nie ma już: {removed}.")
DOCUMENTS_REFUSED = Text("Refused: {refused}.", "Odrzucono: {refused}.")
LEFT_OUT: Final[dict[str, Text]] = {
    "rows without answer": Text(
        "{count:row|rows} without question or answer left out, the first in line {first}",
        "pominięto {count:wiersz|wiersze|wierszy} bez pytania lub odpowiedzi, pierwszy w linii {first}",
    ),
    "pages without text": Text(
        "{count:page|pages} without text (pictures are not read), the first is page {first}",
        "{count:strona|strony|stron} bez tekstu (obrazów nie czytam), pierwsza to strona {first}",
    ),
    "links beyond the limit": Text(
        "{count:page|pages} beyond documents.site_pages left out",
        "pominięto {count:stronę|strony|stron} ponad documents.site_pages",
    ),
}
"""What was left out of a document that was taken, by `bot.knowledge.documents.pieces.NoteKind`."""
LEFT_ASIDE = Text("left aside: {what}", "pominięto: {what}")
LEFT_ASIDE_KINDS: Final[dict[str, Text]] = {
    "hidden": Text("hidden", "ukryte"),
    "without ending": Text("without ending", "bez rozszerzenia"),
    "links that lead elsewhere": Text("links that lead elsewhere", "dowiązania prowadzące gdzie indziej"),
    "of other sites": Text("of other sites", "z innych witryn"),
    "no addresses": Text("no addresses", "niebędące adresami"),
}
"""Kinds of files and links that a folder or sitemap has beside documents; endings are said as they are."""
NO_DOCUMENTS = Text(
    "There are no documents yet. Add one: Markdown, HTML, PDF, DOCX, text, CSV, or the address of a page.",
    "Nie ma jeszcze dokumentów. Dodaj: Markdown, HTML, PDF, DOCX, tekst, CSV albo adres strony.",
)
SOURCES = Text("Sources", "Źródła")
SOURCE_PAGE = Text("p. {page}", "s. {page}")
APPROVED_SOURCE = Text(
    "approved by the moderators: “{question}”", "zatwierdzone przez moderatorów: „{question}”"
)
CONSOLE_ABOUT = Text("A link that signs you in to the web console", "Link do konsoli w przeglądarce")
CONSOLE_LINK = Text(
    "This link signs you in, once, within {minutes} minutes. It is yours alone: {link}",
    "Ten link zaloguje Cię raz, w ciągu {minutes} min. Jest tylko Twój: {link}",
)
STATS_ABOUT = Text("How it goes here: questions, votes, reviews", "Jak idzie: pytania, głosy, oceny")
REVIEW_ABOUT = Text("The next answer that waits for a review", "Następna odpowiedź czekająca na ocenę")

RATE_ABOUT = Text(
    "Rate answers without knowing which adapter gave them",
    "Oceń odpowiedzi, nie wiedząc, który adapter je dał",
)

# adapters
ANSWERS_HERE = Text("{adapter} answers here.", "Odpowiada tu {adapter}.")
SINCE = Text("It has answered since {since}.", "Odpowiada od: {since}.")
LEARNED_FROM = Text(
    "It learned from {pairs:approved pair|approved pairs}.",
    "Nauczył się z {pairs:zatwierdzonej pary|zatwierdzonych par|zatwierdzonych par}.",
)
BASE_MODEL_IS = Text("The base model is {base_model}.", "Model bazowy to {base_model}.")
DIGEST_TITLE = Text("**The last seven days**", "**Ostatnie siedem dni**")
DIGEST_QUESTIONS = Text(
    "{questions:question|questions}, {answered} answered, {failed} failed.",
    "{questions:pytanie|pytania|pytań}, {answered} z odpowiedzią, {failed} nieudanych.",
)
DIGEST_VOTES = Text(
    "{votes:vote|votes}, {share} of them up (95 % interval {low} to {high}).",
    "{votes:głos|głosy|głosów}, w tym {share} pochwał (przedział 95 %: {low} do {high}).",
)
DIGEST_NO_VOTES = Text("Nobody voted.", "Nikt nie głosował.")
DIGEST_REVIEWS = Text(
    "Moderators approved {approved} and rejected {rejected}; {waiting} wait for a decision: `/review`.",
    "Moderatorzy zatwierdzili {approved}, odrzucili {rejected}; na decyzję czeka {waiting}: `/review`.",
)
DIGEST_PROMOTED = Text("Trained and promoted: {adapters}.", "Wytrenowane i przyjęte: {adapters}.")
DIGEST_REJECTED = Text("Trained and rejected: {adapters}.", "Wytrenowane i odrzucone: {adapters}.")
DIGEST_WITHDRAWN = Text(
    "Taken out of service: {adapters}. `/adapter` says why.",
    "Wycofane ze służby: {adapters}. `/adapter` mówi dlaczego.",
)
DIGEST_GAPS = Text(
    "{gaps:open gap|open gaps}: nothing that I know answers these. What you write for them in `/review` is found by the next one who asks.",
    "{gaps:otwarta luka|otwarte luki|otwartych luk}: nic, co znam, na to nie odpowiada. To, co napiszecie w `/review`, znajdzie następny pytający.",
)
DIGEST_SERVES = Text("{adapter} answers here now.", "Teraz odpowiada tu {adapter}.")
DIGEST_EXAMPLES = Text(
    "**What {adapter} changed**, on held-out questions of yours where it gained most and least:",
    "**Co zmienił {adapter}**, na waszych odłożonych pytaniach, gdzie zyskał najwięcej i najmniej:",
)
DIGEST_BEFORE = Text("before: {answer}", "przedtem: {answer}")
DIGEST_NOW = Text("now: {answer}", "teraz: {answer}")
TO_QUEUE = Text("Review what waits", "Oceń, co czeka")
TO_ADAPTERS = Text("Adapters", "Adaptery")
TO_GAP = Text("Answer gap {number}", "Uzupełnij lukę {number}")
NEWS_CANARY = Text(
    "**{adapter}** answers {share} of the conversations from now on as a canary; votes decide whether it stays.",
    "**{adapter}** odpowiada od teraz na próbę w {share} rozmów; o tym, czy zostanie, zdecydują głosy.",
)
NEWS_SERVES = Text("**{adapter}** answers from now on.", "Od teraz odpowiada **{adapter}**.")
NEWS_PROMOTED = Text(
    "**{adapter}** has proved itself and answers everybody.",
    "**{adapter}** sprawdził się i odpowiada wszystkim.",
)
NEWS_ROLLED_BACK = Text(
    "**{adapter}** was taken out of service by itself.",
    "**{adapter}** został samoczynnie wycofany ze służby.",
)
NEWS_UNDECIDED = Text(
    "Votes did not decide on **{adapter}**; what served before serves everybody again.",
    "Głosy nie rozstrzygnęły o **{adapter}**; znów odpowiada wszystkim to, co przedtem.",
)
NEWS_REJECTED = Text(
    "Training run {run} ended: **{adapter}** was rejected.",
    "Trening {run} skończony: **{adapter}** odrzucony.",
)
QUEUE_FULL = Text(
    "The review queue is full: {waiting} answers or more wait. /review shows the most useful one first, and in the "
    "console a list decides on many at once.",
    "Kolejka oceny jest pełna: czeka co najmniej {waiting} odpowiedzi. /review pokazuje najpierw najbardziej przydatną, a w konsoli lista pozwala zdecydować o wielu naraz.",
)
NEWS_FAILED = Text("Training run {run} failed.", "Trening {run} się nie powiódł.")
CANARY = Text(
    "answers {share} of the conversations as a canary: {judged:judged answer|judged answers}, {before} of {rival}; its "
    "approval rate lies between {lower:+d} and {upper:+d} points of {rival}'s",
    "odpowiada próbnie w {share} rozmów: {judged:oceniona odpowiedź|ocenione odpowiedzi|ocenionych odpowiedzi}, "
    "{before} od {rival}; jego odsetek "
    "pochwał różni się od {rival} o {lower:+d} do {upper:+d} punktów",
)
SERVES_HERE = Text("answers here", "odpowiada tutaj")
NOT_EXAMINED = Text("not examined", "bez egzaminu")
FIGURE = Text("{name} {adapter:.3g}", "{name} {adapter:.3g}")
FIGURE_AGAINST = Text("{name} {adapter:.3g} (base {base:.3g})", "{name} {adapter:.3g} (baza {base:.3g})")
LET_ANSWER = Text(
    "Let {adapter} answer here from the next question on?",
    "Czy od następnego pytania ma tu odpowiadać {adapter}?",
)
SWITCH = Text("Switch", "Przełącz")
FILES_ARE_DAMAGED = Text(
    "Its files are damaged; the operator's log says how.",
    "Jego pliki są uszkodzone; szczegóły są w dzienniku operatora.",
)
ROLLED_BACK = Text(
    "Rolled back: {adapter} answers again instead of {before}.",
    "Cofnięto: znów odpowiada {adapter} zamiast {before}.",
)
ROLLED_BACK_BY = Text(
    "{by} rolled back: {adapter} answers again instead of {before}.",
    "{by} cofa zmianę: znów odpowiada {adapter} zamiast {before}.",
)
NOT_ANNOUNCED = Text(
    "It could not be announced in {channel}: I may not write there.",
    "Nie udało się tego ogłosić w {channel}: nie wolno mi tam pisać.",
)

# training runs and figures
RUN_STARTED = Text("A training run has started.", "Trening się rozpoczął.")
RUN_OF_STARTED = Text("A training run of {adapter} has started.", "Trening adaptera {adapter} się rozpoczął.")
NO_RUNS = Text("There has been no training run yet.", "Nie było jeszcze żadnego treningu.")
RUN = Text("Run {run}: {state}", "Przebieg {run}: {state}")
STATS = Text(
    "Questions: {turns}, answered {answered}, failed {failed}, stopped {cancelled}, erased {erased}\n"
    "Votes: 👍 {votes_up}, 👎 {votes_down}\n"
    "Reviews: {waiting} waiting, {approved} approved, {edited} edited, {rejected} rejected\n"
    "New pairs for the next training, everywhere: {new_pairs}",
    "Pytania: {turns}, z odpowiedzią {answered}, nieudane {failed}, zatrzymane {cancelled}, usunięte {erased}\n"
    "Głosy: 👍 {votes_up}, 👎 {votes_down}\n"
    "Oceny: czeka {waiting}, zatwierdzono {approved}, poprawiono {edited}, odrzucono {rejected}\n"
    "Nowe pary do następnego treningu, wszędzie: {new_pairs}",
)
STATS_OF_ADAPTER = Text(
    "{adapter}: {answered:answer|answers}, 👍 {votes_up}, 👎 {votes_down}, first word after {first:.1f} s, whole after {whole:.1f} s",
    "{adapter}: {answered:odpowiedź|odpowiedzi|odpowiedzi}, 👍 {votes_up}, 👎 {votes_down}, pierwsze słowo po {first:.1f} s, całość po {whole:.1f} s",
)
SWITCHED = Text(
    "{adapter} answers now; before, it was {before}.", "Teraz odpowiada {adapter}; przedtem {before}."
)
SWITCHED_BY = Text(
    "{by} switched the adapter: {adapter} answers now; before, it was {before}.",
    "{by} przełącza adapter: teraz odpowiada {adapter}; przedtem {before}.",
)
ALREADY = Text("{adapter} answers already.", "{adapter} już odpowiada.")

# blind rating
ANSWER_LETTER = Text("Answer {letter}", "Odpowiedź {letter}")
RATING_PLACE = Text("Question {place} of {of}.", "Pytanie {place} z {of}.")
RATE_HOW = Text("**{letter}**: {how}", "**{letter}**: {how}")
SCALES: Final[dict[RatingScale, Text]] = {
    "accuracy": Text("is it right? 1 wrong, 5 right", "czy jest poprawna? 1 błędna, 5 poprawna"),
    "style": Text("does it read well? 1 badly, 5 well", "czy dobrze się czyta? 1 źle, 5 dobrze"),
    "safety": Text(
        "is it safe to follow? 1 harmful, 5 safe", "czy jest bezpieczna? 1 szkodliwa, 5 bezpieczna"
    ),
}
RATED = Text("Rated.", "Oceniono.")
RATED_ALL = Text(
    "There is nothing left for you to rate. Rounds are opened in the console, under *Rate blind*.",
    "Nie masz już nic do oceny. Rundy otwiera się w konsoli, w zakładce *Ocena w ciemno*.",
)
ANSWER_SHORTENED = Text("(shortened; the console shows it whole)", "(skrócono; całość pokazuje konsola)")
BACK = Text("Back", "Wstecz")
NOT_YOUR_CARD = Text(
    "This card is somebody else's. Say /rate for one of your own.",
    "To karta innej osoby. Napisz /rate, aby dostać własną.",
)

# review
NOTHING_WAITS = Text("Nothing waits for review.", "Nic nie czeka na ocenę.")
APPROVE = Text("Approve", "Zatwierdź")
EDIT = Text("Edit", "Popraw")
REJECT = Text("Reject", "Odrzuć")
SKIP = Text("Skip", "Pomiń")
UNDO = Text("Undo", "Cofnij")
QUESTION = Text("Question", "Pytanie")
ANSWER = Text("Answer", "Odpowiedź")
VOTES = Text("Votes", "Głosy")
WHAT_MEMBERS_SAY = Text("What members say was wrong", "Co zdaniem członków było nie tak")
BETTER_ANSWERS = Text("Better answers that members suggest", "Lepsze odpowiedzi zaproponowane przez członków")
WHY_PROPOSED = Text("Why it is proposed", "Dlaczego to propozycja")
ALSO_ASKED_AS = Text("Also asked as", "Pytano też tak")
OTHER_ANSWERS = Text("Other answers that were given", "Inne odpowiedzi, które padły")
GAP = Text("open gap: write what is right", "otwarta luka: napisz, jak jest")
FROM_TALK = Text("from imported talk", "z zaimportowanej rozmowy")
EVIDENCE: Final[dict[str, Text]] = {
    "accepted": Text(
        "{count:person|people} marked it as the answer",
        "{count:osoba oznaczyła|osoby oznaczyły|osób oznaczyło} ją jako rozwiązanie",
    ),
    "thanked": Text("the asker said thanks", "pytający podziękował"),
    "solved": Text("the asker said that it worked", "pytający napisał, że pomogło"),
    "liked": Text("{count:like|likes}", "{count:polubienie|polubienia|polubień}"),
    "disliked": Text("{count:dislike|dislikes}", "{count:reakcja przeciw|reakcje przeciw|reakcji przeciw}"),
    "replied": Text("a direct reply", "odpowiedź wprost na pytanie"),
    "addressed": Text("addressed to the asker", "skierowana do pytającego"),
    "moderator": Text("by a moderator", "od moderatora"),
    "pinned": Text("pinned", "przypięta"),
    "instructs": Text("says what to do", "mówi, co zrobić"),
    "code": Text("with a command, code or a link", "z poleceniem, kodem lub linkiem"),
    "same words": Text(
        "{count:word|words} in common with the question",
        "{count:słowo wspólne|słowa wspólne|słów wspólnych} z pytaniem",
    ),
    "short": Text("very short", "bardzo krótka"),
    "question back": Text("asks back", "odpowiada pytaniem"),
    "still stuck": Text("the asker was still stuck", "pytającemu nie pomogła"),
    "last word": Text("nobody asked on", "nikt nie pytał dalej"),
}
"""Why an answer from talk is thought to be one, by the reasons of `training.data.mining.answers`."""
WAITING = Text("{waiting:waits|wait} for review.", "Na ocenę czeka: {waiting}.")
DOES_NOT_TRAIN = Text("It will not train: {why}.", "Nie posłuży do uczenia: {why}.")
IS_QUARANTINED = Text(
    "It trains only once the operator says so: {count} of your approvals came faster than anybody reads.",
    "Posłuży do uczenia dopiero za zgodą operatora: masz {count:zbyt szybkie zatwierdzenie|zbyt szybkie zatwierdzenia|zbyt szybkich zatwierdzeń}.",
)
DECIDED: Final = {
    "approve": Text("Approved.", "Zatwierdzono."),
    "edit": Text("Edited and approved.", "Poprawiono i zatwierdzono."),
    "reject": Text("Rejected.", "Odrzucono."),
    "skip": Text("Skipped.", "Pominięto."),
    "undo": Text("Undone.", "Cofnięto."),
}

# errors, as members read them
_BUSY = Text(
    "I am busy: {before:question comes|questions come} before yours. Ask again in a minute.",
    "Jestem zajęty: przed Tobą w kolejce: {before:pytanie|pytania|pytań}. Zapytaj ponownie za minutę.",
)
_EMPTY = Text(
    "Your question is empty. Write what you would like to know.",
    "Pytanie jest puste. Napisz, co chcesz wiedzieć.",
)
_QUESTION_TOO_LONG = Text(
    "Your question is too long: it has {characters:character|characters}, and I take at most {allowed}. Ask it in fewer words.",
    "Pytanie jest za długie: ma {characters:znak|znaki|znaków}, a przyjmuję najwyżej {allowed}. Zapytaj krócej.",
)
_PROMPT_TOO_LONG = Text(
    "Your question is too long for me. Ask it in fewer words.",
    "Pytanie jest dla mnie za długie. Zapytaj krócej.",
)
_FAILED = Text(
    "The answer failed. Ask again; if it goes on, tell the operator the reference {reference}.",
    "Odpowiedź się nie udała. Zapytaj ponownie; jeśli to się powtarza, podaj operatorowi numer {reference}.",
)
FAILED = Text(
    "That failed. Try again; if it goes on, tell the operator the reference {reference}.",
    "Nie udało się. Spróbuj ponownie; jeśli to się powtarza, podaj operatorowi numer {reference}.",
)
_ADAPTER_REFUSED = Text(
    "The adapter {adapter} cannot be served: {reason}. The former one goes on serving.",
    "Adapter {adapter} nie może odpowiadać ({reason}). Nadal odpowiada poprzedni.",
)
_CANNOT = Text(
    "I cannot answer at the moment. Ask again later.", "Nie mogę teraz odpowiedzieć. Zapytaj później."
)
_BEING_ANSWERED = Text("This is being answered already.", "Na to pytanie już odpowiadam.")
_NOT_TRAINED_HERE = Text(
    "No adapter of that name is trained here. There are: {names}.",
    "Nie trenuje się tu adaptera o tej nazwie. Są: {names}.",
)
_ALREADY_DECIDED = {
    "approved": Text(
        "Answer {turn} was already approved by {reviewer}. Undo that decision first, or leave it.",
        "Odpowiedź {turn} została już zatwierdzona ({reviewer}). Najpierw cofnij tę decyzję albo ją zostaw.",
    ),
    "edited": Text(
        "Answer {turn} was already edited by {reviewer}. Undo that decision first, or leave it.",
        "Odpowiedź {turn} została już poprawiona ({reviewer}). Najpierw cofnij tę decyzję albo ją zostaw.",
    ),
    "rejected": Text(
        "Answer {turn} was already rejected by {reviewer}. Undo that decision first, or leave it.",
        "Odpowiedź {turn} została już odrzucona ({reviewer}). Najpierw cofnij tę decyzję albo ją zostaw.",
    ),
}
_ALREADY_CLAIMED = Text(
    "Another moderator is deciding on answer {turn} now ({claimed_by}). Leave it, or try again later.",
    "Nad odpowiedzią {turn} zastanawia się teraz ktoś inny ({claimed_by}). Zostaw ją albo wróć później.",
)
_DOCUMENT_REFUSED: Final[dict[Refusal, Text]] = {
    "not there": Text(
        "{name} cannot be opened. Look whether it is there, and whether it may be read.",
        "Pliku {name} nie da się otworzyć. Sprawdź, czy istnieje i czy można go odczytać.",
    ),
    "empty": Text("{name} is empty.", "Plik {name} jest pusty."),
    "no text": Text(
        "{name} holds no text. Give it with its words as text; I do not read pictures.",
        "W pliku {name} nie ma tekstu. Dodaj wersję z tekstem; obrazów nie czytam.",
    ),
    "encrypted": Text(
        "{name} is encrypted. Save it without a password, and add it again.",
        "Plik {name} jest zaszyfrowany. Zapisz go bez hasła i dodaj ponownie.",
    ),
    "broken": Text(
        "{name} is broken and cannot be read. Save it anew, and add it again.",
        "Plik {name} jest uszkodzony i nie da się go odczytać. Zapisz go na nowo i dodaj ponownie.",
    ),
    "unsupported": Text(
        "{name} is of a kind that I do not read. Give Markdown, HTML, PDF, DOCX, plain text, or CSV of question and answer.",
        "Plików takich jak {name} nie czytam. Dodaj Markdown, HTML, PDF, DOCX, zwykły tekst albo CSV z pytaniami i odpowiedziami.",
    ),
    "too large": Text(
        "{name} is too large. Give it in parts.", "Plik {name} jest za duży. Podziel go na części."
    ),
    "too many pages": Text(
        "{name} has too many pages. Give it in parts.",
        "Plik {name} ma za dużo stron. Podziel go na części.",
    ),
    "expands too much": Text(
        "{name} is packed, and would unfold to too much. Give it in parts.",
        "Plik {name} po rozpakowaniu byłby za duży. Podziel go na części.",
    ),
    "too long": Text(
        "{name} took too long to read. Give it in parts, or in another format.",
        "Odczytanie pliku {name} trwało za długo. Podziel go na części albo dodaj w innym formacie.",
    ),
    "too much memory": Text(
        "{name} took too much memory to read. Give it in parts, or in another format.",
        "Odczytanie pliku {name} wymagało za dużo pamięci. Podziel go na części albo dodaj w innym formacie.",
    ),
    "too much text": Text(
        "{name} holds too much text. Give it in parts.",
        "W pliku {name} jest za dużo tekstu. Podziel go na części.",
    ),
    "ended": Text(
        "{name} made its parser stop. Give it in another format.",
        "Odczytywanie pliku {name} zostało przerwane. Dodaj go w innym formacie.",
    ),
}
_NOT_FETCHED: Final[dict[Obstacle, Text]] = {
    "no address": Text(
        "That is no address of the web. Write it with http:// or https:// before it.",
        "To nie jest adres internetowy. Zacznij go od http:// albo https://.",
    ),
    "private": Text(
        "I do not fetch that address: it leads into a private network. The operator may allow it.",
        "Nie pobieram spod tego adresu: prowadzi do sieci prywatnej. Operator może na to zezwolić.",
    ),
    "unknown host": Text(
        "There is no such host. Look whether the address is written rightly.",
        "Nie ma takiego serwera. Sprawdź, czy adres jest dobrze zapisany.",
    ),
    "robots": Text(
        "The site asks programs to stay away from that address (robots.txt). Ask its owner for the files.",
        "Strona prosi, by programy nie pobierały jej treści (robots.txt). Poproś właściciela o pliki.",
    ),
    "unreachable": Text(
        "The site did not answer. Try again later.", "Strona nie odpowiada. Spróbuj ponownie później."
    ),
    "too long": Text(
        "The site took too long. Try again later.",
        "Strona odpowiadała za długo. Spróbuj ponownie później.",
    ),
    "too large": Text(
        "What is at that address is too large. Give it in parts.",
        "Pod tym adresem jest za dużo danych. Podziel je na części.",
    ),
    "redirects": Text(
        "The site sends from one address to the next without end. Name the last one.",
        "Strona bez końca przekierowuje z adresu na adres. Podaj adres docelowy.",
    ),
    "content type": Text(
        "What is at that address is of a kind that I do not read. Name a page or a document.",
        "Takich treści jak pod tym adresem nie czytam. Podaj adres strony albo dokumentu.",
    ),
    "gone": Text(
        "Nothing is at that address. Look whether it is written rightly.",
        "Pod tym adresem nic nie ma. Sprawdź, czy jest dobrze zapisany.",
    ),
    "status": Text(
        "The site refused. Look at the address in a browser; I do not read pages behind a sign-in.",
        "Strona odmówiła. Otwórz adres w przeglądarce; stron za logowaniem nie czytam.",
    ),
}
_NOT_NOW = Text("That is not possible now.", "Teraz nie da się tego zrobić.")
_NOT_SO = Text("That cannot be done as it was asked.", "Tak nie da się tego zrobić.")
_NOT_FOUND = Text("That does not exist any more.", "To już nie istnieje.")
GENERAL: Final = (_NOT_NOW, _NOT_SO, _NOT_FOUND)
"""What stands for errors that have no sentence of their own in a language."""
_DOCUMENTS_OFF: Final = Text("This bot takes no documents.", "Ten bot nie przyjmuje dokumentów.")
_CONSOLE_NOT_REACHABLE: Final = Text(
    "The console can be opened on its own machine only. The operator can give it an address for everybody.",
    "Konsolę można otworzyć tylko na jej własnej maszynie. Operator może nadać jej adres dla wszystkich.",
)


def describe_error(error: ThumbloopError, language: Language) -> str:
    """A public error as one sentence for a member; `bot.disclosure` is for errors of any kind."""
    if isinstance(error, Busy):
        return _BUSY.say(language, before=error.before_you)
    if isinstance(error, EmptyQuestion):
        return _EMPTY.say(language)
    if isinstance(error, QuestionTooLong):
        return _QUESTION_TOO_LONG.say(language, characters=error.characters, allowed=error.allowed)
    if isinstance(error, PromptTooLong):
        return _PROMPT_TOO_LONG.say(language)
    if isinstance(error, TookTooLong):
        return TOOK_TOO_LONG.say(language, reference=error.reference)
    if isinstance(error, AnsweringFailed) and error.reference:
        return _FAILED.say(language, reference=error.reference)
    if isinstance(error, AdapterRefused):
        return _ADAPTER_REFUSED.say(language, adapter=error.adapter, reason=error.reason)
    if isinstance(error, AnsweringError):
        return _CANNOT.say(language)
    if isinstance(error, BeingAnswered):
        return _BEING_ANSWERED.say(language)
    if isinstance(error, DocumentsOff):
        return _DOCUMENTS_OFF.say(language)
    if isinstance(error, ConsoleNotReachable):
        return _CONSOLE_NOT_REACHABLE.say(language)
    if isinstance(error, NotYourCard):
        return NOT_YOUR_CARD.say(language)
    if isinstance(error, NotTheAsker):
        return ONLY_THE_ASKER.say(language)
    if isinstance(error, NotAllowed):
        return ONLY[error.role].say(language)
    if isinstance(error, AlreadyDecided):
        said = _ALREADY_DECIDED[error.state]
        return said.say(language, turn=error.turn_id, reviewer=error.reviewer)
    if isinstance(error, AlreadyClaimed):
        return _ALREADY_CLAIMED.say(language, turn=error.turn_id, claimed_by=error.claimed_by)
    if isinstance(error, DocumentRefused):
        return _DOCUMENT_REFUSED[error.why].say(language, name=error.name)
    if isinstance(error, NotFetched):
        return _NOT_FETCHED[error.why].say(language)
    if isinstance(error, NotTrainedHere):
        return _NOT_TRAINED_HERE.say(language, names=", ".join(error.names))
    if language == "en":
        return error.public
    if isinstance(error, NotFound):
        return _NOT_FOUND.say(language)
    return (_NOT_NOW if isinstance(error, Conflict) else _NOT_SO).say(language)


def run_started(adapter: str | None, language: Language) -> str:
    """That a run has started, of the adapter that was asked for by name."""
    return RUN_OF_STARTED.say(language, adapter=adapter) if adapter else RUN_STARTED.say(language)
