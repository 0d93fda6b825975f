"""Which adapters stand side by side, and for how long."""

from __future__ import annotations

import torch

from bot.answering.engine.active import ActiveAdapters, Site
from bot.answering.engine.lora import LoadedAdapter, Pair
from bot.answering.engine.weights import packs

INPUTS, OUTPUTS, RANK = 6, 5, 2


def adapter(number: int) -> LoadedAdapter:
    torch.manual_seed(number)
    return LoadedAdapter(str(number), {"q": Pair(torch.randn(INPUTS, RANK), torch.randn(RANK, OUTPUTS))})


def test_adapters_of_a_burst_are_put_away_only_when_they_have_not_been_needed_for_a_while() -> None:
    adapters = [adapter(number) for number in range(4)]
    pair = adapters[0].pairs["q"]
    said = pair.down @ pair.up
    active = ActiveAdapters([Site(("q",), (OUTPUTS,))], torch.device("cpu"), torch.float32)
    active.begin_step(adapters)
    stackings = []
    for _ in range(100):
        active.begin_step([adapters[0]] * INPUTS)
        out = torch.zeros(INPUTS, OUTPUTS)
        active.add(0, torch.eye(INPUTS), out)
        torch.testing.assert_close(out, said)
        stackings.append(active.state())
    put_away = next(at for at, state in enumerate(stackings) if state != stackings[0])
    assert put_away > 10, "a question that comes alone after a burst must not wait for it"
    assert len(set(stackings)) == 2, "and then it is done once"


def test_members_that_stay_together_go_on_saying_the_same_when_they_are_packed() -> None:
    torch.manual_seed(0)
    device, dtype = torch.device("cpu"), torch.bfloat16
    sites = [Site(("q", "k", "v"), (32, 16, 16)), Site(("o",), (32,)), Site(("gate", "up"), (96, 96))] * 10

    def random_pair(rank: int, outputs: int) -> Pair:
        return Pair(torch.randn(32, rank, dtype=dtype), torch.randn(rank, outputs, dtype=dtype))

    thin = LoadedAdapter("thin", {"q": random_pair(4, 32), "v": random_pair(4, 16)})
    every = [
        (module, outputs)
        for site in sites
        for module, outputs in zip(site.modules, site.outputs, strict=True)
    ]
    whole = LoadedAdapter("whole", {module: random_pair(16, outputs) for module, outputs in every})
    speakers = [thin, None, whole, whole, thin]
    x = torch.randn(5, 32, dtype=dtype)
    active = ActiveAdapters(sites, device, dtype)
    for _ in range(12):
        active.begin_step(speakers)
        for number, site in enumerate(sites):
            before = torch.randn(5, sum(site.outputs), dtype=dtype)
            after = active.add(number, x, before.clone())
            for row, adapter in enumerate(speakers):
                said = [
                    (x[row].float() @ pair.down.float() @ pair.up.float())
                    if adapter is not None and (pair := adapter.pairs.get(module)) is not None
                    else torch.zeros(outputs)
                    for module, outputs in zip(site.modules, site.outputs, strict=True)
                ]
                torch.testing.assert_close(
                    after[row].float(), before[row].float() + torch.cat(said), atol=0.5, rtol=0.05
                )
    packed = [stacked is None or stacked.packed is not None for stacked in active._stacked]
    assert all(packed) if packs(device, dtype) else not any(packed)
