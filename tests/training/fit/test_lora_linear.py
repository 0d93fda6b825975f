import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from training.fit.lora_linear import speed_up


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 5, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.tanh(self.first(x)))


def wrapped(**options: object) -> nn.Module:
    torch.manual_seed(1)
    config = LoraConfig(r=3, lora_alpha=12, target_modules=["first", "second"], **options)
    model = get_peft_model(Net(), config)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight, generator=torch.Generator().manual_seed(2))
    return model


def passes(model: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    x = x.clone().requires_grad_()
    out = model(x)
    out.square().sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    return out, gradients | {"x": x.grad}


@pytest.mark.parametrize("options", [{}, {"use_rslora": True}])
def test_what_the_quick_passes_say_and_teach_is_what_pefts_own_do(options: dict[str, bool]) -> None:
    x = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(3))
    expected, taught = passes(wrapped(**options), x)
    quick = wrapped(**options)
    assert speed_up(quick) == 2
    said, learnt = passes(quick, x)
    torch.testing.assert_close(said, expected)
    assert learnt.keys() == taught.keys()
    for name, gradient in taught.items():
        torch.testing.assert_close(learnt[name], gradient)


def test_without_its_adapter_a_quick_layer_is_the_base_models() -> None:
    model, x = wrapped(), torch.ones(1, 6)
    speed_up(model)
    with model.disable_adapter():
        torch.testing.assert_close(model(x), model.get_base_model()(x))
        bare = model(x)
    assert not torch.allclose(model(x), bare)


@pytest.mark.parametrize("options", [{"lora_dropout": 0.5}, {"use_dora": True}])
def test_layers_of_another_arithmetic_stay_as_they_are(options: dict[str, object]) -> None:
    assert speed_up(wrapped(**options)) == 0
