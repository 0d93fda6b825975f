"""What Thumbloop is told, where, and what it says when it is told wrongly."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from bot.settings import Settings, known_keys, load_settings, secret_values
from feedback.errors import NotFound, SettingsError
from tests import write_settings_docs

SECRET = "hunter2-and-more"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder and an environment that says nothing."""
    monkeypatch.chdir(tmp_path)
    for variable in [name for name in os.environ if name.upper().startswith("THUMBLOOP_")]:
        monkeypatch.delenv(variable)


def dotenv(text: str) -> None:
    Path(".env").write_text(text, encoding="utf-8")


def toml(text: str) -> None:
    Path("thumbloop.toml").write_text(text, encoding="utf-8")


def refusal() -> str:
    """The one sentence that the settings are refused with."""
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert refused.value.exit_status == 2
    assert "\n" not in str(refused.value)
    return str(refused.value)


# where a setting stands


def test_the_environment_beats_dotenv_and_dotenv_beats_toml_and_toml_beats_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    toml('model = "toml"\ndevice = "cpu"\n[training]\nrank = 3\nalpha = 3\ndropout = 0.3\n')
    dotenv("THUMBLOOP_MODEL=dotenv\nTHUMBLOOP_TRAINING__RANK=2\nTHUMBLOOP_TRAINING__ALPHA=2\n")
    monkeypatch.setenv("THUMBLOOP_MODEL", "environment")
    monkeypatch.setenv("THUMBLOOP_TRAINING__RANK", "1")
    settings = load_settings()
    assert (settings.model, settings.device, settings.precision) == ("environment", "cpu", "auto")
    training = settings.training
    assert (training.rank, training.alpha, training.dropout, training.seed) == (1, 2, 0.3, 17)


def test_what_a_command_is_told_beats_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THUMBLOOP_DATA", "environment")
    assert load_settings(data=Path("option")).data == Path("option")


def test_nothing_need_be_set() -> None:
    settings = load_settings()
    assert settings.database_url == f"sqlite:///{Path('data').absolute()}/thumbloop.db"
    assert settings.models_folder == Path("data/models")


@pytest.mark.parametrize(
    ("told", "passages"),
    [
        ({}, 1),
        ({"model": "HuggingFaceTB/SmolLM2-135M-Instruct"}, 1),
        ({"model": "Qwen/Qwen3-4B-Instruct-2507"}, 3),
        ({"knowledge": {"passages": 2}}, 2),
    ],
)
def test_the_packaged_model_reads_one_passage_and_others_three_unless_told_otherwise(
    told: dict[str, object], passages: int
) -> None:
    assert load_settings(**told).passages_in_prompt == passages


def test_a_database_url_replaces_the_file_in_the_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THUMBLOOP_RECORD__DATABASE_URL", "postgresql://u:p@h/d")
    assert load_settings().database_url == "postgresql://u:p@h/d"


def test_the_home_folder_may_be_written_as_a_tilde() -> None:
    dotenv("THUMBLOOP_DATA=~/thumbloop\n")
    assert load_settings().data == Path.home() / "thumbloop"


def test_lines_of_other_programs_in_dotenv_are_left_alone() -> None:
    dotenv("COMPOSE_PROJECT_NAME=x\nexport THUMBLOOP_MODEL='a folder'\n# THUMBLOOP_NONE=1\n")
    assert load_settings().model == "a folder"


def test_a_dotenv_saved_by_a_windows_editor_is_read_from_its_first_line_on() -> None:
    Path(".env").write_bytes("\ufeffTHUMBLOOP_MODEL=first\n".encode())
    assert load_settings().model == "first"


def test_a_list_is_json_in_the_environment_and_a_list_in_toml(monkeypatch: pytest.MonkeyPatch) -> None:
    toml('[api]\nkeys = ["a:1", "b:2"]\n')
    assert load_settings().api.keys == ("a:1", "b:2")
    monkeypatch.setenv("THUMBLOOP_API__KEYS", '["c:3"]')
    assert load_settings().api.keys == ("c:3",)


# what is refused


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "bot.example.org"])
def test_a_console_without_sign_in_is_not_opened_to_the_network(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("THUMBLOOP_WEB__HOST", host)
    said = refusal()
    assert "THUMBLOOP_WEB__HOST" in said or "web.host" in said
    assert "must sign in" in said and "THUMBLOOP_WEB__PUBLIC_URL" in said
    assert "ssh -L 8321:127.0.0.1:8321" in said
    monkeypatch.setenv("THUMBLOOP_WEB__PUBLIC_URL", "https://bot.example.org/")
    assert load_settings().web.public_url == "https://bot.example.org"


@pytest.mark.parametrize(
    "url", ["bot.example.org", "ftp://bot.example.org", "https://", "https://a:b@c.org", "https://a.org/?b"]
)
def test_a_public_address_that_no_browser_could_open_is_refused(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("THUMBLOOP_WEB__PUBLIC_URL", url)
    assert "web.public_url" in refusal()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_a_console_may_listen_on_every_address_of_this_machine_alone(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("THUMBLOOP_WEB__HOST", host)
    assert load_settings().web.host == host


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("TRUSTED_PROXIES", '["*"]', "write addresses or networks, such as 127.0.0.1 or 10.0.0.0/8"),
        ("TRUSTED_PROXIES", '["nginx"]', "write addresses or networks, such as 127.0.0.1 or 10.0.0.0/8"),
    ],
)
def test_a_proxys_addresses_are_asked_for_as_they_are_needed(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, says: str
) -> None:
    monkeypatch.setenv(f"THUMBLOOP_WEB__{variable}", value)
    assert says in refusal()


@pytest.mark.parametrize(("key", "nearest"), [("training.rnak", "training.rank"), ("modle", "mode")])
@pytest.mark.parametrize("source", ["environment", ".env", "thumbloop.toml"])
def test_an_unknown_setting_is_named_with_the_nearest_one(
    source: str, key: str, nearest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = variable_of(key)
    if source == "environment":
        monkeypatch.setenv(variable, "8")
        nearest = variable_of(nearest)
    elif source == ".env":
        dotenv(f"{variable}=8\n")
    else:
        section, _, field = key.rpartition(".")
        toml(f"[{section}]\n{field} = 8\n" if section else f"{field} = 8\n")
    said = refusal()
    assert variable in said
    assert f"id you mean {nearest}?" in said
    assert "docs/settings.md" in said


@pytest.mark.parametrize("source", ["environment", ".env", "thumbloop.toml"])
@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("training.rank", "many", "integer"),
        ("training.rank", "-1", "greater than or equal to 0"),
        ("training.epochs", "nan", "100"),
        ("log_level", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("mode", "rude", "'tldr'"),
        ("training.adapter_name", "No Name", "a-z0-9"),
        ("data", "", "name a folder"),
        ("data", "~nobody-of-that-name/x", "home folder"),
        ("model", "", "at least 1 character"),
        ("remote.url", "ftp://h", "it takes: Its base URL, such as http://127.0.0.1:8000/v1"),
        ("telegram.api_url", "ftp://h", "such as http://127.0.0.1:8081/bot"),
    ],
)
def test_a_wrong_value_is_named_with_its_setting_and_what_is_allowed(
    source: str, key: str, value: str, allowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if source == "environment":
        monkeypatch.setenv(variable_of(key), value)
    elif source == ".env":
        dotenv(f"{variable_of(key)}='{value}'\n")
    else:
        section, _, field = key.rpartition(".")
        toml(f"[{section}]\n{field} = '{value}'\n" if section else f"{field} = '{value}'\n")
    said = refusal()
    assert f"The setting {key} ({variable_of(key)}) is {value!r}, which is not allowed" in said
    assert allowed in said


@pytest.mark.parametrize(
    ("text", "named"),
    [("training = 3\n", "training"), ("[trainig]\nrank = 1\n", "trainig"), ("[model]\nx = 1\n", "model")],
)
def test_a_section_in_place_of_a_setting_and_the_other_way_round_are_named(text: str, named: str) -> None:
    toml(text)
    assert f"The setting {named} " in refusal()


def test_a_file_that_is_no_toml_is_named_with_the_place_in_it() -> None:
    toml("model = \n")
    said = refusal()
    assert "line 1" in said and "thumbloop.toml" in said


def test_a_file_in_another_encoding_is_named() -> None:
    Path(".env").write_bytes(b"THUMBLOOP_MODEL=\xff\n")
    assert "utf-8" in refusal()


def test_a_list_that_is_no_json_is_told_how_to_write_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THUMBLOOP_API__KEYS", "a:1,b:2")
    said = refusal()
    assert "api.keys" in said and '["one","two"]' in said


# secrets


@pytest.mark.parametrize(
    "setting",
    [
        {"THUMBLOOP_RECORD__DATABASE_URLL": f"postgresql://u:{SECRET}@h/d"},
        {"THUMBLOOP_REMOTE__APIKEY": SECRET},
        {"THUMBLOOP_RECORD": f'{{"database_url": "{SECRET}", "retention_days": "x"}}'},
        {"THUMBLOOP_RECORD": f'{{"database_url": "{SECRET}"'},
        {"THUMBLOOP_RECORD": f'"{SECRET}"'},
        {"THUMBLOOP_REMOTE": f'{{"api_kei": "{SECRET}"}}'},
        {"THUMBLOOP_API__KEYS": SECRET},
        {"THUMBLOOP_API__KEYS": f'["{SECRET}", 7, {{"a": "{SECRET}"}}]'},
    ],
)
@pytest.mark.parametrize("source", ["environment", ".env"])
def test_a_refusal_shows_no_secret_not_even_in_its_traceback(
    source: str, setting: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ((variable, value),) = setting.items()
    if source == "environment":
        monkeypatch.setenv(variable, value)
    else:
        dotenv(f"{variable}='{value}'\n")
    try:
        load_settings()
    except SettingsError as error:
        shown = str(error) + repr(error) + traceback.format_exc() + str(error.__context__)
        assert SECRET not in shown
        assert variable.split("__")[0].removeprefix("THUMBLOOP_").lower() in str(error).lower()
    else:
        pytest.fail("it was taken")


@pytest.mark.parametrize(
    "text",
    [
        f"record = '{SECRET}'\n",
        f"[record]\ndatabase_url = ['{SECRET}']\n",
        f"[record]\ndatabase_url = {{ a = '{SECRET}' }}\n",
        f"[record]\ndatabase_ur = '{SECRET}'\n",
        f"[remote]\napi_key = '{SECRET}\n",
        f"[api]\nkeys = '{SECRET}'\n",
    ],
)
def test_a_refusal_of_toml_shows_no_secret(text: str) -> None:
    toml(text)
    assert SECRET not in refusal()


def test_secrets_that_are_taken_are_not_shown_and_the_log_is_told_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = f"postgresql://u:{SECRET}@h/d"
    monkeypatch.setenv("THUMBLOOP_RECORD__DATABASE_URL", url)
    monkeypatch.setenv("THUMBLOOP_REMOTE__API_KEY", SECRET)
    monkeypatch.setenv("THUMBLOOP_API__KEYS", f'["{SECRET}"]')
    settings = load_settings()
    shown = (
        repr(settings) + str(settings) + repr(settings.record) + repr(settings.remote) + repr(settings.api)
    )
    assert SECRET not in shown
    assert set(secret_values(settings)) == {url, SECRET}


def test_a_section_within_a_section_is_read_from_each_place(monkeypatch: pytest.MonkeyPatch) -> None:
    toml("[training]\nrank = 3\n[training.hygiene]\nlongest_answer = 300\nlongest_question = 300\n")
    dotenv("THUMBLOOP_TRAINING__HYGIENE__LONGEST_ANSWER=200\nTHUMBLOOP_TRAINING__HYGIENE__OFF=toxic\n")
    monkeypatch.setenv("THUMBLOOP_TRAINING__HYGIENE__OFF", "length")
    hygiene = load_settings().training.hygiene
    assert (hygiene.off, hygiene.longest_answer, hygiene.longest_question) == ("length", 200, 300)


def test_a_mistyped_setting_within_two_sections_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THUMBLOOP_TRAINING__HYGIENE__LONGEST_ANSWERS", "9")
    assert "THUMBLOOP_TRAINING__HYGIENE__LONGEST_ANSWER?" in refusal()


def test_a_rule_that_does_not_exist_cannot_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THUMBLOOP_TRAINING__HYGIENE__OFF", "style, lenght")
    assert "no rule is called 'lenght'" in refusal()


# several adapters


def test_a_named_adapter_is_trained_by_the_common_settings_but_for_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    toml(
        "[training]\nrank = 3\nalpha = 6\nhygiene = {longest_answer = 300}\n"
        '[training.adapters.docs]\ncommunities = ["discord:1"]\nrank = 8\nhygiene = {off = "style"}\n'
        "[training.adapters.community]\nepochs = 3\n"
    )
    monkeypatch.setenv("THUMBLOOP_TRAINING__ADAPTERS__DOCS__SEED", "5")
    training = load_settings().training
    assert training.names == ["community", "docs"]
    docs = training.of_adapter("docs")
    assert (docs.adapter_name, docs.rank, docs.alpha, docs.seed) == ("docs", 8, 6, 5)
    assert (docs.hygiene.off, docs.hygiene.longest_answer) == ("style", 300)
    assert docs.own.communities == ("discord:1",)
    general = training.of_adapter()
    assert (general.adapter_name, general.rank, general.epochs) == ("community", 3, 3)
    with pytest.raises(NotFound, match=r"no adapter to train called blog\. There are community, docs;"):
        training.of_adapter("blog")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("rnak = 8", "training.adapters.docs.rnak .* did you mean training.adapters.docs.rank"),
        ("adapter_name = 'x'", "training.adapters.docs.adapter_name .* does not exist"),
        ("seed = -1", r"training.adapters.docs.seed \(.*\) is not allowed: .*greater than or equal to 0"),
        ("languages = ['de']", "training.adapters.docs.languages.* 'en' or 'pl'"),
        (f"judge_key = '{SECRET}'", "training.adapters.docs.judge_key .* does not exist"),
        ("[training.adapters.'No Name']", "adapter name 'No Name' does not match"),
    ],
)
def test_what_a_named_adapter_cannot_be_told_is_named(line: str, told: str) -> None:
    toml(f"[training.adapters.docs]\n{line}\n")
    said = refusal()
    assert re.search(told, said) and SECRET not in said


# what is said about them


def test_every_setting_says_what_it_does() -> None:
    documented = write_settings_docs.settings_page()
    for key in known_keys():
        assert f"`{key}` | `{variable_of(key)}`" in documented
    assert "None" not in documented  # a field without a description


@pytest.mark.parametrize("path", write_settings_docs.FILES, ids=lambda path: path.name)
def test_the_documents_list_the_settings_as_they_are(path: Path) -> None:
    wanted = write_settings_docs.FILES[path]()
    again = f"{path.name} is behind the settings; run `{write_settings_docs.COMMAND}`"
    assert path.read_text(encoding="utf-8") == wanted, again


def test_the_example_with_every_mark_taken_off_says_what_is_the_default_anyway() -> None:
    lines = write_settings_docs.env_example().splitlines()
    dotenv("\n".join(line.removeprefix("#") for line in lines if line.startswith("#THUMBLOOP_")))
    assert load_settings().model_dump() == Settings.model_construct().model_dump()


def test_reading_the_settings_loads_nothing_heavy() -> None:
    heavy = "torch transformers nicegui fastapi sqlmodel sqlalchemy"
    code = f"import sys, bot.settings; print([m for m in '{heavy}'.split() if m in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(write_settings_docs.ROOT)},
    )
    assert found.stdout.strip() == "[]"


def variable_of(key: str) -> str:
    return "THUMBLOOP_" + key.replace(".", "__").upper()
