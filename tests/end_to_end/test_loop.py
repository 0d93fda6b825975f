"""The loop, closed by the real model; and the service that a person would leave running."""

from __future__ import annotations

import json
import signal

import pytest
from openai import OpenAI

from bot.api.keys import new_key
from tests.end_to_end.conftest import Start

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_the_demo_closes_the_loop_with_the_real_model(start: Start) -> None:
    # a short training is enough to see that each station does its work, though not to word answers well
    told = {
        "answering__max_new_tokens": "24",
        "training__epochs": "0.2",
        "training__examination_questions": "4",
        "gate__max_worse_chrf": "100",
    }
    process = start("demo", "--check", "--json", **told)
    out, err = process.communicate()
    assert process.returncode == 0, err
    result = json.loads(out)
    assert result["ok"] and all(station["ok"] for station in result["stations"])
    assert result["metrics"]["candidate"]["loss"] < result["metrics"]["base"]["loss"]
    assert "nearest_by_meaning" in result["metrics"]["candidate"]
    question, base, adapter = result["answers"][0]
    assert question and base and adapter and base != adapter


def test_the_service_answers_through_its_api_keeps_the_turn_and_stops_when_told(start: Start) -> None:
    key, line = new_key("ci", "discord:guild-1")
    settings = {"web__port": "0", "api__port": "0", "api__keys": json.dumps([line])}
    service = start("serve", **settings)
    assert service.stdout is not None
    url = next(said.split()[-1] for said in service.stdout if said.startswith("API:"))
    with OpenAI(base_url=url, api_key=key, max_retries=0) as client:
        models = [model.id for model in client.models.list()]
        answer = client.chat.completions.create(
            model="thumbloop",
            max_tokens=12,
            messages=[{"role": "user", "content": "What is the capital of France?"}],
        )
    service.send_signal(signal.SIGTERM)
    _, err = service.communicate()
    assert service.returncode == 0, err
    assert any("SmolLM2" in model for model in models)

    process = start("review", "list", "--json")
    waiting, err = process.communicate()
    assert process.returncode == 0, err
    (entry,) = json.loads(waiting)["entries"]
    assert entry["question"] == "What is the capital of France?"
    assert entry["answer"] == (answer.choices[0].message.content or "").strip()
