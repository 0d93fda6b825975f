"""What `thumbloop doctor` says of a model server that it asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bot import doctor
from bot.doctor import Finding
from bot.settings import RemoteSettings, Settings, load_settings
from feedback.errors import SettingsError
from tests.doubles.openai_server import BASE, CONTEXT, OpenAIServer
from tests.loopback import serving


async def findings(server: OpenAIServer, tmp_path: Path, **remote: Any) -> list[Finding]:
    async with serving(server.app) as url:
        settings = Settings(data=tmp_path, model="hub/tiny", remote=RemoteSettings(url=f"{url}/v1", **remote))
        return [one for one in await doctor.examine(settings) if one.name == "model server"]


async def test_a_server_that_answers_is_told_with_what_it_serves(tmp_path: Path) -> None:
    server = OpenAIServer(owned_by="thumbloop")
    server.adapters = {"support@1-abababababab": "/adapters/support/1"}
    (told,) = await findings(server, tmp_path)
    assert told.severity == "ok"
    assert f"Thumbloop, {BASE} with {CONTEXT} tokens and 1 adapter" in told.detail


async def test_vllm_is_told_with_its_version_and_what_its_key_does_not_guard(tmp_path: Path) -> None:
    server = OpenAIServer(owned_by="vllm")
    told, guard = await findings(server, tmp_path)
    assert "vLLM 0.32.0" in told.detail
    assert guard.severity == "note", "on this machine nobody else reaches it"
    assert "--api-key" in guard.detail and "proxy" in guard.remedy
    assert server.calls == [] and server.adapters == {}, "asking changes nothing"


async def test_a_vllm_that_loads_no_adapters_is_a_warning_unless_it_has_them_from_its_start(
    tmp_path: Path,
) -> None:
    fixed = OpenAIServer(owned_by="vllm", loads_at_run_time=False)
    _, warning, _ = await findings(fixed, tmp_path)
    assert warning.severity == "warning" and "VLLM_ALLOW_RUNTIME_LORA_UPDATING" in warning.remedy
    assert len(await findings(fixed, tmp_path, adapters="at-start")) == 2


async def test_a_server_without_the_model_is_a_fault_with_its_remedy(tmp_path: Path) -> None:
    (fault,) = await findings(OpenAIServer(), tmp_path, model="another")
    assert fault.severity == "fault"
    assert "not another" in fault.detail and "THUMBLOOP_REMOTE__MODEL" in fault.remedy


async def test_a_server_that_cannot_be_reached_is_a_fault_and_its_password_stays_unsaid(
    tmp_path: Path,
) -> None:
    remote = RemoteSettings(url="http://ada:swordfish@127.0.0.1:9/v1")
    told = await doctor.examine(Settings(data=tmp_path, remote=remote))
    (fault,) = [one for one in told if one.name == "model server"]
    assert (fault.severity, "cannot be reached" in fault.detail) == ("fault", True)
    assert "127.0.0.1:9" in fault.detail
    assert "swordfish" not in repr(told)


@pytest.mark.parametrize("variable", ["REMOTE__URL", "TRAINING__JUDGE_URL"])
@pytest.mark.parametrize(
    "url", ["ftp://ada:swordfish@host/v1", "http://ada:sword fish@host/v1", "http://ada:swordfish@host/?q"]
)
def test_a_url_that_is_refused_is_shown_without_its_password(
    variable: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"THUMBLOOP_{variable}", url)
    with pytest.raises(SettingsError, match=r"://\*{8}@host") as told:
        load_settings()
    assert "sword" not in str(told.value)
