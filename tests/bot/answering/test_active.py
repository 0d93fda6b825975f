"""Which adapters stand side by side, and for how long."""

from __future__ import annotations

import torch

from bot.answering.engine.active import ActiveAdapters, Site
from bot.answering.engine.lora import LoadedAdapter, LoraLayer

INPUTS, OUTPUTS, RANK = 6, 5, 2


def adapter(number: int) -> LoadedAdapter:
    torch.manual_seed(number)
    return LoadedAdapter(str(number), {"q": LoraLayer(torch.randn(INPUTS, RANK), torch.randn(RANK, OUTPUTS))})


def test_adapters_of_a_burst_are_restacked_only_when_they_have_not_been_needed_for_a_while() -> None:
    adapters = [adapter(number) for number in range(4)]
    layer = adapters[0].layers["q"]
    expected = layer.down @ layer.up
    active = ActiveAdapters([Site(("q",), (OUTPUTS,))], torch.device("cpu"), torch.float32)
    active.begin_step(adapters)
    states = []
    for _ in range(100):
        active.begin_step([adapters[0]] * INPUTS)
        out = torch.zeros(INPUTS, OUTPUTS)
        active.add(0, torch.eye(INPUTS), out)
        torch.testing.assert_close(out, expected)
        states.append(active.state())
    restacked = next(at for at, state in enumerate(states) if state != states[0])
    assert restacked > 10, "a question that comes alone after a burst must not wait for it"
    assert len(set(states)) == 2, "and then it is done once"
