"""Files of pairs: what is written comes back, what is wrong is named, and nothing is half-written."""

from __future__ import annotations

import csv
import json
import resource
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from training.data import dataset
from training.data.pair_files.kinds import LONGEST_ROW
from training.data.pair_files.reading import PairFile, read_pairs
from training.data.pair_files.writing import write_pairs
from training.data.pairs import TrainingPair, json_line
from training.errors import PairsError
from training.model.reasoning import answer_of

KINDS = [".jsonl", ".json", ".csv", ".tsv", ".parquet"]
PAIR = TrainingPair("What is r?", "in LoRA", "The rank.", "explanation", "en", {"turn": 7, "mode": "tldr"})
TRICKY = "Zażółć gęślą jaźń 🦙 👩‍🔬\n\r\ntab\tquote \" ' comma, ; \\ end\u2028of\u0085line \ufeff"

texts = st.text(st.characters() | st.characters(categories=["Cs"]), max_size=40)
spoken = texts.filter(lambda text: text.strip())
answers = spoken.filter(lambda text: answer_of(text) == text)
lineages = st.none() | st.dictionaries(
    st.text(), st.integers() | texts | st.none() | st.lists(texts), max_size=3
)
pairs = st.builds(
    TrainingPair,
    spoken,
    texts,
    answers,
    st.sampled_from(["qa", "code"]),
    st.sampled_from(["en", "pl"]),
    lineages,
)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# --- there and back ---


def test_emoji_polish_line_breaks_and_quotes_come_back_as_they_were(kind: str, tmp_path: Path) -> None:
    pair = TrainingPair(TRICKY, TRICKY, TRICKY, "qa", "pl", {"turn": 1, "note": TRICKY})
    assert write_pairs(tmp_path / f"pairs{kind}", [pair, PAIR]) == 2
    assert list(read_pairs(tmp_path / f"pairs{kind}")) == [pair, PAIR]


@pytest.mark.parametrize("ending", KINDS)
@examples(max_examples=40, deadline=None)
@given(written=st.lists(pairs, max_size=4))
def test_whatever_was_said_comes_back(ending: str, written: list[TrainingPair]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"pairs{ending}")
        assert write_pairs(file, written) == len(written)
        assert list(read_pairs(file)) == [_without_half_surrogates(pair) for pair in written]


def test_half_a_surrogate_pair_becomes_a_question_mark(kind: str, tmp_path: Path) -> None:
    write_pairs(tmp_path / f"pairs{kind}", [TrainingPair("half \ud83e", "", "an answer")])
    assert [pair.instruction for pair in read_pairs(tmp_path / f"pairs{kind}")] == ["half ?"]


def test_an_answer_longer_than_the_csv_module_takes_by_itself_comes_back(kind: str, tmp_path: Path) -> None:
    long = TrainingPair("A question?", "x" * 200_000, "y" * 200_000)
    write_pairs(tmp_path / f"pairs{kind}", [long])
    assert list(read_pairs(tmp_path / f"pairs{kind}")) == [long]


def test_more_rows_than_are_read_at_once_keep_their_order(kind: str, tmp_path: Path) -> None:
    many = [TrainingPair(f"Question {number}?", "", f"Answer {number}.") for number in range(2345)]
    write_pairs(tmp_path / f"pairs{kind}", many)
    assert list(read_pairs(tmp_path / f"pairs{kind}")) == many


@pytest.mark.parametrize("ending", [".jsonl", ".json"])
def test_the_datasets_library_loads_an_export(ending: str, tmp_path: Path) -> None:
    from datasets import load_dataset

    # lineages of several origins differ in their keys and in what stands under them
    bare = TrainingPair("No lineage?", "", "None.")
    other = TrainingPair("Jaki?\n🦙", "", "Inny.", "qa", "pl", {"turn": "abc", "deep": {"x": [1]}})
    write_pairs(tmp_path / f"pairs{ending}", [bare, PAIR, other])
    rows = load_dataset(
        "json", data_files=str(tmp_path / f"pairs{ending}"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert rows.column_names[:3] == ["instruction", "input", "output"]
    assert rows["instruction"][:] == ["No lineage?", "What is r?", "Jaki?\n🦙"]
    assert rows["output"][:] == ["None.", "The rank.", "Inny."]
    assert rows["language"][:] == ["en", "en", "pl"]
    assert rows[1]["lineage"]["turn"] == 7


def test_the_same_pair_is_the_same_line_however_its_lineage_was_put_together() -> None:
    one = TrainingPair("Q?", "", "A.", lineage={"turn": 1, "mode": "code"})
    other = TrainingPair("Q?", "", "A.", lineage={"mode": "code", "turn": 1})
    assert json_line(one) == json_line(other)
    assert json.loads(json_line(one))["lineage"] == {"turn": 1, "mode": "code"}


# --- files of others ---


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain.jsonl", '{"instruction": "Q?", "output": "A."}'),
        ("more-keys.jsonl", '{"instruction": "Q?", "output": "A.", "id": 3, "system": ["x"]}'),
        ("nulls.jsonl", '{"instruction": "Q?", "input": null, "output": "A.", "lineage": null}'),
        ("windows.jsonl", '\ufeff{"instruction": "Q?", "output": "A."}\r\n\r\n'),
        ("LOUD.JSONL", '{"instruction": "Q?", "output": "A."}'),
        ("array.json", '[\n {"instruction": "Q?",\n  "output": "A."}\n]'),
        ("plain.csv", "instruction,output\nQ?,A.\n"),
        ("semicolons.csv", "instruction;input;output\r\nQ?;;A.\r\n"),
        ("bars.csv", "instruction|output\nQ?|A.\n"),
        ("tabs.csv", "instruction\toutput\nQ?\tA.\n"),
        ("tabs.tsv", "instruction\tinput\toutput\nQ?\t\tA.\n"),
        ("said.csv", "sep=;\r\ninstruction;output\r\nQ?;A.\r\n"),
        ("case.csv", 'Instruction, Input, Output, Task Type\nQ?,, "A.",qa\n'),
        ("case.jsonl", '{"Instruction": "Q?", " OUTPUT ": "A."}'),
        ("trailing.csv", "instruction,output\nQ?,A.,,\n\n"),
        ("nan.csv", "instruction,input,output,language\nQ?,nan,A.,NaN\n"),
        ("none.csv", "instruction,input,output\nQ?,None,A.\n"),
        ("nan.jsonl", '{"instruction": "Q?", "input": NaN, "output": "A."}'),
        ("array.jsonl", '[\n {"instruction": "Q?", "output": "A."}\n]\n'),
        ("excel.csv", "\ufeffoutput,instruction,language,task_type,lineage,id\r\nA.,Q?,,,,3\r\n"),
    ],
)
def test_files_that_others_wrote_are_understood(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content.encode())
    assert list(read_pairs(tmp_path / name)) == [TrainingPair("Q?", "", "A.")]


def test_a_parquet_file_with_lineage_as_a_struct_is_understood(tmp_path: Path) -> None:
    columns = {"output": ["A."], "instruction": ["Q?"], "lineage": [{"turn": 3}], "score": [0.5]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "pairs.parquet")
    assert list(read_pairs(tmp_path / "pairs.parquet")) == [TrainingPair("Q?", "", "A.", lineage={"turn": 3})]


# --- what they say beside the pair ---


@pytest.mark.parametrize(
    ("question", "answer", "language"),
    [
        ("Jak często podlewać bazylię?", "Gdy ziemia wyschnie, zwykle co dwa dni.", "pl"),
        ("Podlewanie bazylii", "Raz dziennie rano, przy samej ziemi.", "pl"),
        ("Kompost?", "Nawóz z resztek roślin.", "pl"),
        ("How often is basil watered?", "Whenever the soil is dry.", "en"),
        ("Lech Wałęsa?", "He led a trade union, and later he was the president of Poland.", "en"),
        ("Code?", "x = 1", "en"),
        ("Jak?", "```python\nfor plant in the_garden:\n    if plant.is_dry and not is_raining:\n```", "pl"),
    ],
)
def test_a_row_that_does_not_say_its_language_gets_the_one_it_is_written_in(
    question: str, answer: str, language: str, tmp_path: Path
) -> None:
    rows = [
        {"instruction": question, "output": answer},
        {"instruction": question, "output": answer, "language": "en"},
    ]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [pair.language for pair in read_pairs(tmp_path / "p.jsonl")] == [language, "en"]


@pytest.mark.parametrize(
    "output",
    [
        "<think>\nA product.\n</think>\n\n42.",
        "A product.\n</think>\n42.",
        "<|begin_of_thought|>x<|end_of_thought|> 42.",
    ],
)
def test_reasoning_is_taken_apart_from_the_answer(output: str, tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text(json.dumps({"instruction": "How much is 6 times 7?", "output": output}))
    assert [pair.output for pair in read_pairs(tmp_path / "p.jsonl")] == ["42."]


def test_an_answer_that_is_only_reasoning_is_none(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text(json.dumps({"instruction": "Q?", "output": "<think>Hm.</think>"}))
    with pytest.raises(PairsError, match="line 1: 'output' holds only reasoning"):
        list(read_pairs(tmp_path / "p.jsonl"))


@pytest.mark.parametrize("as_text", [False, True])
def test_earlier_turns_and_the_system_text_of_an_alpaca_file_are_kept(as_text: bool, tmp_path: Path) -> None:
    history: Any = [["How do I water basil?", "<think>Hm.</think>Water the soil."]]
    row = {
        "instruction": "Why?",
        "output": "Wet leaves rot.",
        "system": "You are a gardener.",
        "history": json.dumps(history) if as_text else history,
    }
    (tmp_path / "p.jsonl").write_text(json.dumps(row))
    file = PairFile(tmp_path / "p.jsonl")
    (pair,) = file
    assert dataset.history(pair) == [{"question": "How do I water basil?", "answer": "Water the soil."}]
    assert dataset.messages(pair)[0] == {"role": "system", "content": "You are a gardener."}
    assert file.left_out == set()


def test_columns_that_a_pair_has_no_room_for_are_named(tmp_path: Path) -> None:
    rows = [
        {"instruction": "Q?", "output": "A.", "score": 3, "note": "", "id": None},
        {"instruction": "Q?", "output": "A.", "system": ["x"], "history": "long"},
    ]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    file = PairFile(tmp_path / "p.jsonl")
    assert len(list(file)) == 2
    assert file.left_out == {"score", "system", "history"}


# --- formulas ---

FORMULAS = [
    "=1+1",
    "+1",
    "-1 is one too.",
    "@SUM(1,1)",
    "\t=1",
    "\r=1",
    "＝1",
    "'=1",
    "''-1",
    "'quoted'",
    "a=1",
]


@pytest.mark.parametrize("ending", [".csv", ".tsv"])
def test_a_spreadsheet_sees_no_formula_and_reading_gives_the_texts_back(ending: str, tmp_path: Path) -> None:
    written = [TrainingPair(text, text, text) for text in FORMULAS]
    write_pairs(tmp_path / f"p{ending}", written)
    with (tmp_path / f"p{ending}").open(newline="") as file:
        fields = [
            field for row in csv.reader(file, delimiter="," if ending == ".csv" else "\t") for field in row
        ]
    assert not [field for field in fields if field.startswith(("=", "+", "-", "@", "\t", "\r", "＝"))]
    assert list(read_pairs(tmp_path / f"p{ending}")) == written


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".parquet"])
def test_files_that_no_spreadsheet_opens_hold_formulas_as_they_are(ending: str, tmp_path: Path) -> None:
    write_pairs(tmp_path / f"p{ending}", [TrainingPair("=1+1", "", "@SUM(1,1)")])
    assert b"=1+1" in (tmp_path / f"p{ending}").read_bytes()
    assert b"'=1" not in (tmp_path / f"p{ending}").read_bytes()


def test_an_apostrophe_in_a_file_of_others_is_theirs(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("instruction,output\n'=1,'-2\n")
    assert list(read_pairs(tmp_path / "p.csv")) == [TrainingPair("'=1", "", "'-2")]


# --- more than memory should hold ---


@pytest.mark.parametrize("name", ["p.jsonl", "p.csv", "p.tsv", "p.json", "array.jsonl"])
def test_a_row_of_200_mb_is_refused_before_it_is_read(name: str, tmp_path: Path) -> None:
    beginning = {
        "p.jsonl": '{"instruction": "',
        "p.json": '[{"instruction": "',
        "array.jsonl": '[{"instruction": "',
    }
    with (tmp_path / name).open("wb") as file:
        file.write(beginning.get(name, "instruction\toutput\n").encode())
        file.truncate(200_000_000)  # NUL bytes, which take no room on the disk
    tracemalloc.start()
    try:
        with pytest.raises(PairsError, match="longer than 16 MiB"):
            list(read_pairs(tmp_path / name))
        assert tracemalloc.get_traced_memory()[1] < 8 * LONGEST_ROW
    finally:
        tracemalloc.stop()


def test_a_quote_that_is_never_closed_does_not_fill_the_memory(tmp_path: Path) -> None:
    with (tmp_path / "p.csv").open("wb") as file:
        file.write(b'instruction,output\nQ?,"')
        file.writelines([b"and so on, and so on\n" * 1000] * 2000)
    with pytest.raises(PairsError, match=r"line 2: this is not CSV \(field larger than field limit"):
        list(read_pairs(tmp_path / "p.csv"))


def test_an_array_longer_than_a_row_may_be_is_read_row_by_row(tmp_path: Path) -> None:
    long = [TrainingPair(f"Question {number}?", "", "y" * 3_000_000) for number in range(8)]
    write_pairs(tmp_path / "p.json", long)
    assert (tmp_path / "p.json").stat().st_size > LONGEST_ROW
    assert [pair.instruction for pair in read_pairs(tmp_path / "p.json")] == [
        pair.instruction for pair in long
    ]


# --- what is wrong is named ---

SHAREGPT = {"conversations": [{"from": "human", "value": "Q?"}, {"from": "gpt", "value": "A."}]}
GOOD = '{"instruction": "Q?", "output": "A."}\n'


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("p.jsonl", GOOD + '{"instruction": "Q?", "outp', "line 2: this is not JSON"),
        ("p.jsonl", GOOD + "\n[1, 2]\n", "line 3: expected an object, found list"),
        ("p.jsonl", GOOD + '{"instruction": "Q?"}', "line 2: the key 'output' is missing"),
        ("p.jsonl", GOOD + '{"instruction": " \\n", "output": "A."}', "line 2: 'instruction' is empty"),
        ("p.jsonl", GOOD + '{"instruction": "Q?", "output": 3}', "line 2: 'output' is int, not text"),
        (
            "p.jsonl",
            GOOD[:-2] + ', "language": "de"}',
            "line 1: language 'de' is unknown. Use one of en, pl.",
        ),
        ("p.jsonl", GOOD[:-2] + ', "task_type": "poem"}', "line 1: task_type 'poem' is unknown"),
        ("p.jsonl", GOOD[:-2] + ', "lineage": [1]}', "line 1: 'lineage' is not an object"),
        ("p.jsonl", GOOD + "[" * 100_000, "line 2: this is not JSON"),
        ("p.jsonl", GOOD.encode() + b'{"instruction": "\xff"}', "line 2: the byte 0xff is not UTF-8"),
        ("p.json", '[\n{"instruction": "Q?"\n "output": "A."}]', "line 3: this is not JSON"),
        ("p.json", '[{"instruction": "Q?", "output": "A."}, 7]', "row 2: expected an object, found int"),
        ("p.json", GOOD, "holds an array of objects, this one a dict"),
        ("p.json", "[" * 100_000, "this is not JSON"),
        ("p.json", "[" + "1" * 5000 + "]", "this is not JSON"),
        (
            "p.csv",
            "instruction,output\nQ?,A.\nQ?,A.,more\n",
            "line 3: the row has more fields than the header",
        ),
        ("p.csv", "instruction,output\nQ?,A.\nQ?\n", "line 3: the key 'output' is missing"),
        ("p.jsonl", '{"question": "Q?", "answer": "A."}', "Found: 'question', 'answer'."),
        (
            "p.csv",
            "Question;Answer\nQ?;A.\n",
            "line 1: the header has no 'instruction' and no 'output'. "
            "The headers found are 'Question', 'Answer'.",
        ),
        (
            "p.jsonl",
            json.dumps(SHAREGPT),
            "looks like ShareGPT conversations, and not like pairs",
        ),
        (
            "p.jsonl",
            json.dumps({"messages": [{"role": "user", "content": "Q?"}]}),
            "looks like OpenAI chat messages",
        ),
        (
            "p.json",
            json.dumps([{"prompt": "Q?", "completion": "A."}]),
            "looks like prompts with their completions",
        ),
        ("p.jsonl", '{"prompt": "Q?", "chosen": "A.", "rejected": "B."}', "looks like preference pairs"),
        ("p.csv", "prompt,completion,label\nQ?,A.,true\n", "looks like answers with a thumb each (KTO)"),
        (
            "p.json",
            json.dumps({"guild": {"id": "1"}, "channel": {"id": "2"}, "messages": []}, indent=1),
            "looks like a channel that DiscordChatExporter wrote, and not like pairs",
        ),
        (
            "p.json",
            json.dumps({"name": "Garden", "type": "private_supergroup", "id": 1, "messages": []}),
            "looks like a chat that Telegram Desktop exported",
        ),
        ("p.csv", 'instruction,output\nQ?,A.\nQ?,"A.\nQ?,A.\n', "line 3: this is not CSV (unexpected end"),
        ("p.csv", 'instruction,output\nQ?,A.\n"a" b,A.\n', "line 3: this is not CSV"),
        ("p.csv", "instruction,output,lineage\nQ?,A.,{nothing\n", "line 2: 'lineage' is not JSON"),
        ("p.csv", b"instruction,output\nQ?,\xb3\n", "line 2: the byte 0xb3 is not UTF-8"),
        ("p.parquet", "no Parquet at all", "after row 0: this is not a Parquet file that can be read"),
        (
            "p.txt",
            GOOD,
            "ends in .txt, which is no kind of pairs file. Use one of .jsonl, .json, .csv, .tsv, .parquet.",
        ),
        ("pairs", GOOD, "has no ending, which is no kind of pairs file"),
    ],
)
def test_a_fault_is_told_with_its_file_and_place(
    name: str, content: str | bytes, told: str, tmp_path: Path
) -> None:
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(PairsError) as caught:
        list(read_pairs(file))
    assert str(file) in caught.value.problem and told in str(caught.value)
    assert caught.value.remedy


def test_pairs_before_the_fault_can_be_had(tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text(GOOD + "nonsense")
    reading = read_pairs(tmp_path / "pairs.jsonl")
    assert next(reading) == TrainingPair("Q?", "", "A.")
    with pytest.raises(PairsError):
        next(reading)


def test_a_parquet_file_without_our_columns_is_told_so(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a"]}), tmp_path / "p.parquet")
    with pytest.raises(PairsError, match="row 1: the key 'instruction' is missing"):
        list(read_pairs(tmp_path / "p.parquet"))


def test_a_parquet_file_with_damaged_pages_is_told_so(tmp_path: Path) -> None:
    write_pairs(tmp_path / "p.parquet", [TrainingPair(f"Q{n}?", "", f"A{n}." * 40) for n in range(3000)])
    raw = bytearray((tmp_path / "p.parquet").read_bytes())
    raw[200:2000] = bytes(byte ^ 0x5A for byte in raw[200:2000])
    (tmp_path / "p.parquet").write_bytes(raw)
    with pytest.raises(PairsError, match=r"after row 0: this is not a Parquet file.*Write it again"):
        list(read_pairs(tmp_path / "p.parquet"))


def test_a_file_that_is_not_there_is_told_so(kind: str, tmp_path: Path) -> None:
    with pytest.raises(PairsError, match=r"absent.*No such file.*Check that the path is right"):
        list(read_pairs(tmp_path / f"absent{kind}"))


# --- whole or not at all ---


def test_a_fault_while_writing_leaves_the_former_file_and_nothing_else(kind: str, tmp_path: Path) -> None:
    file = tmp_path / f"pairs{kind}"
    write_pairs(file, [PAIR])
    before = file.read_bytes()

    def broken() -> Iterator[TrainingPair]:
        yield from [PAIR] * 3000
        raise PairsError("The source is broken.")

    with pytest.raises(PairsError, match="The source is broken"):
        write_pairs(file, broken())
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_a_disk_that_takes_no_more_leaves_the_former_file_and_nothing_else(kind: str, tmp_path: Path) -> None:
    file = tmp_path / f"pairs{kind}"
    write_pairs(file, [PAIR])
    long = [TrainingPair("Q?", "", f"{number} and so on" * 100) for number in range(2000)]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(PairsError, match=r"Writing .*pairs.* failed \(.*[Tt]oo large"):
            write_pairs(file, long)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(read_pairs(file)) == [PAIR]
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_is_not_there_is_told_so(kind: str, tmp_path: Path) -> None:
    with pytest.raises(PairsError, match=r"Writing .*absent.* failed.*Check that the path is right"):
        write_pairs(tmp_path / "absent" / f"pairs{kind}", [PAIR])


def _without_half_surrogates(pair: TrainingPair) -> TrainingPair:
    def clean(value: Any) -> Any:
        if isinstance(value, str):
            return value.encode(errors="replace").decode()
        if isinstance(value, list):
            return [clean(one) for one in value]
        return {clean(key): clean(one) for key, one in value.items()} if isinstance(value, dict) else value

    return TrainingPair(
        clean(pair.instruction),
        clean(pair.input),
        clean(pair.output),
        pair.task_type,
        pair.language,
        clean(pair.lineage),
    )
