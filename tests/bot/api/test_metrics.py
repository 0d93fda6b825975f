"""What Prometheus reads of a service, and that documentation, dashboard and alerts speak of nothing else."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
from openai import AsyncOpenAI
from prometheus_client.parser import text_string_to_metric_families

from bot.metrics import Metrics
from tests.bot.assembly import BARE, Assembly
from training.adapters import deployments, registry

ROOT = Path(__file__).parents[3]


@pytest.fixture
def dialect() -> str:
    """What is read of the record is asked on both databases elsewhere."""
    return "sqlite"


async def _scraped(url: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """Each sample by its name and the values of its labels, as Prometheus would have it."""
    async with httpx.AsyncClient(base_url=url) as prometheus:
        answer = await prometheus.get("/metrics", headers={"Authorization": f"Bearer {BARE}"})
    assert answer.status_code == 200
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_an_answer_is_counted_with_its_adapter_and_its_times(url: str, client: AsyncOpenAI) -> None:
    await client.chat.completions.create(model="base", messages=[{"role": "user", "content": "What is it?"}])
    found = await _scraped(url)
    assert found["thumbloop_answers_total", ("base", "answered")] == 1
    assert found["thumbloop_first_token_seconds_count", ("base",)] == 1
    assert found["thumbloop_answer_tokens_total", ("base",)] > 0
    assert found["thumbloop_answers_under_way", ()] == 0
    assert found["thumbloop_component", ("model",)] == 1 and found["thumbloop_reviews_waiting", ()] >= 0


async def test_a_canary_is_read_with_its_share_and_where_it_surely_stands(
    url: str, assembly: Assembly
) -> None:
    async with assembly.core.database.session() as session:
        first = await registry.find(session, "support@1")
        second = await registry.find(session, "support@2")
        assert second is not None
        await deployments.switch(session, first, by="run 1")
        await deployments.begin_canary(session, second, 0.25, by="run 2")
    found = await _scraped(url)
    assert found["thumbloop_serving", ("support@1",)] == 1
    assert found["thumbloop_canary_share", ("support@2",)] == 0.25
    assert found["thumbloop_canary_approval_difference", ("support@2", "lower")] == -1


async def test_of_several_who_scrape_at_once_each_finds_everything(url: str) -> None:
    for found in await asyncio.gather(*(_scraped(url) for _ in range(8))):
        assert found["thumbloop_component", ("database",)] == 1


async def test_without_a_key_the_api_shows_no_metrics(url: str) -> None:
    async with httpx.AsyncClient(base_url=url) as anyone:
        assert (await anyone.get("/metrics")).status_code == 401


def test_every_metric_is_documented_and_drawn_and_nothing_else_is() -> None:
    ours = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in Metrics().registry.collect()
    }
    documented = set(re.findall(r"^\| `(thumbloop_\w+)`", _read("docs/operation.md"), re.MULTILINE))
    assert documented == ours and len(ours) > 10
    drawn = set(re.findall(r"thumbloop_\w+", _read("deploy/grafana/thumbloop.json")))
    assert {re.sub(r"_bucket$", "", name) for name in drawn} == ours
    alerted = set(re.findall(r"(?<![/\w])thumbloop_\w+", _read("deploy/prometheus/alerts.yaml")))
    assert {re.sub(r"_bucket$", "", name) for name in alerted} <= ours and len(alerted) > 4


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    board = json.loads(_read("deploy/grafana/thumbloop.json"))
    assert board["title"] == "Thumbloop" and all(panel["targets"] for panel in board["panels"])


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs Prometheus' promtool (Debian: prometheus)"
)
def test_prometheus_takes_the_configuration_and_the_alerts() -> None:
    subprocess.run(
        ["promtool", "check", "config", ROOT / "deploy" / "prometheus" / "prometheus.yaml"], check=True
    )


def _read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")
