"""What a run's settings, its plan and what its training measured are called in Polish.

In English they are called as the settings and the record have them, with spaces.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from feedback.text import Text
from feedback.words import Language

POLISH: Final[Mapping[str, str]] = {
    # settings of the run
    "adapter_name": "nazwa adaptera",
    "keep_versions": "ile wersji zostaje",
    "min_pairs": "najmniej par",
    "min_new_pairs": "najmniej nowych par",
    "validation_share": "udział walidacji",
    "history_turns": "wcześniejsze tury",
    "max_tokens": "najwięcej tokenów",
    "notes": "notatki",
    "noted_share": "udział par z notatkami",
    "missing_note_share": "udział notatek bez odpowiedzi",
    "not_knowing_share": "udział „nie wiem”",
    "held_burst": "seria zatwierdzeń do wstrzymania",
    "hygiene": "higiena",
    "method": "metoda",
    "start_from": "od czego zaczyna",
    "seed": "ziarno losowości",
    "rank": "rząd",
    "alpha": "alfa",
    "dropout": "dropout",
    "target_modules": "warstwy z adapterem",
    "lora_variant": "odmiana LoRA",
    "lora_plus_ratio": "stosunek LoRA+",
    "epochs": "epoki",
    "learning_rate": "współczynnik uczenia",
    "batch_size": "wielkość porcji",
    "patience": "cierpliwość",
    "replay_weight": "waga powtórek",
    "contrast_weight": "waga kontrastu",
    "preference_beta": "beta preferencji",
    "preference_learning_rate": "współczynnik uczenia preferencji",
    "preference_epochs": "epoki preferencji",
    "quantisation": "kwantyzacja",
    "processes": "procesy",
    "accelerate_config": "konfiguracja accelerate",
    "niceness": "ustępowanie innym procesom",
    "threads": "wątki",
    "memory_gib": "pamięć, GiB",
    "examination_questions": "pytania egzaminu",
    "examine_without_notes": "egzamin także bez notatek",
    "judge_url": "adres sędziego",
    "judge_model": "model sędziego",
    "judge_seconds": "czas sędziego, s",
    "model": "model",
    "model_revision": "wersja modelu",
    "resumes": "wznawia trening",
    # of hygiene
    "hygiene.off": "higiena: wyłączone reguły",
    "hygiene.personal_data": "higiena: dane osobowe",
    "hygiene.shortest_question": "higiena: najkrótsze pytanie",
    "hygiene.longest_question": "higiena: najdłuższe pytanie",
    "hygiene.shortest_answer": "higiena: najkrótsza odpowiedź",
    "hygiene.longest_answer": "higiena: najdłuższa odpowiedź",
    "hygiene.near_duplicate": "higiena: niemal to samo pytanie od",
    "hygiene.same_answer": "higiena: ta sama odpowiedź od",
    "hygiene.contradiction": "higiena: sprzeczność do",
    "hygiene.most_questions_of_an_answer": "higiena: najwięcej pytań z jedną odpowiedzią",
    "hygiene.style_deviation": "higiena: odchylenie stylu",
    "hygiene.most_from_member": "higiena: najwięcej od jednej osoby",
    "hygiene.most_on_topic": "higiena: najwięcej na jeden temat",
    # of the gate
    "gate.confidence": "werdykt: ufność",
    "gate.min_questions": "werdykt: najmniej pytań",
    "gate.min_gain": "werdykt: najmniejszy zysk",
    "gate.max_worse_chrf": "werdykt: spadek chrF do",
    "gate.max_worse_nearest_own": "werdykt: spadek „najbliżej własnej” do",
    "gate.max_worse_language_match": "werdykt: spadek zgodności języka do",
    "gate.max_worse_repetition": "werdykt: wzrost powtarzania się do",
    "gate.max_worse_memorisation": "werdykt: wzrost wyuczenia na pamięć do",
    "gate.max_worse_not_knowing": "werdykt: spadek „nie wiem” na pytaniach bez odpowiedzi do",
    "gate.max_worse_false_not_knowing": "werdykt: wzrost „nie wiem” na zwykłych pytaniach do",
    "gate.max_worse_general_loss": "werdykt: wzrost straty ogólnej do",
    "gate.max_worse_judge": "werdykt: gorzej u sędziego do",
    # the plan
    "stages": "etapy",
    "row_tokens": "tokeny w wierszu",
    "checkpointing": "aktywacje liczone dwa razy",
    "steps": "kroki",
    "tokens": "tokeny",
    "seconds": "sekundy",
    "peak_mib": "najwięcej pamięci, MiB",
    "free_mib": "wolna pamięć, MiB",
    # what a training measured
    "pairs": "pary",
    "examples": "przykłady",
    "validation_pairs": "pary walidacji",
    "validation_examples": "przykłady walidacji",
    "left_out_too_long": "pominięte, za długie",
    "train_loss": "strata treningu",
    "validation_loss": "strata walidacji",
    "validation_loss_before": "strata walidacji przed",
    "trainable_parameters": "trenowane parametry",
    "tokens_per_s": "tokeny na sekundę",
    "waited_for_answers_s": "czekał na odpowiedzi, s",
    "beta": "beta",
    "helped": "pomogło",
    "held_out_pairs": "odłożone pary",
    "held_out_margin_before": "przewaga na odłożonych przed",
    "held_out_margin_after": "przewaga na odłożonych po",
    "held_out_right_before": "trafne na odłożonych przed",
    "held_out_right_after": "trafne na odłożonych po",
    "held_out_thumbs": "odłożone głosy",
    "held_out_thumbs_margin": "przewaga na odłożonych głosach",
}
_TRUE: Final = Text("yes", "tak")
_FALSE: Final = Text("no", "nie")
_NOTHING: Final = "–"


def called(name: str, language: Language) -> str:
    """What a setting or a measurement is called; one that has no Polish as in English."""
    return POLISH.get(name, _plain(name)) if language == "pl" else _plain(name)


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings on one level: those of a section such as `hygiene` become `hygiene.off` and so on."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= {f"{name}.{key}": inner for key, inner in value.items()}
        else:
            found[name] = value
    return found


def shown(value: Any, language: Language) -> str:
    """A setting's value for people; what is typed into the settings, such as `auto`, stays as it is."""
    if isinstance(value, bool):
        return (_TRUE if value else _FALSE).say(language)
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or _NOTHING
    return _NOTHING if value in (None, "") else str(value).removesuffix(".0")  # a record may hold 0.0 as 0


def _plain(name: str) -> str:
    return name.replace("_", " ")
