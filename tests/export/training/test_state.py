"""export/training/state.py: what weight decay pulls at, and what it leaves alone."""

from pathlib import Path

import pytest
import torch
from torch import nn

from export.training.compute import Compute
from export.training.recipe import Training
from export.training.state import Stage, TrainingState
from models.dorefa import QuantConvAvgPool2d
from models.integer import QuantizeInput
from models.learned import Scale
from models.precision import Precision
from models.quantization import quantized

CPU = Compute(torch.device("cpu"))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "adam"])
def test_scales_do_not_decay(tmp_path: Path, optimizer: str) -> None:
    torch.manual_seed(0)
    images = torch.rand(8, 4)
    network = quantized(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)), Precision(4, 4), images)
    training = Training(epochs=1, batch_size=8, learning_rate=1e-2, optimizer=optimizer, weight_decay=0.5)  # type: ignore[arg-type]
    state = TrainingState(Stage("w4a4", Precision(4, 4), 0, training, tmp_path / "w4a4.pt"), "", network, CPU)
    groups = state._optimizer.param_groups
    decays = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    scales = [module.log for module in network.modules() if isinstance(module, Scale) and module.log.requires_grad]
    weight_scales = [value for name, value in network.named_parameters() if name.endswith("log_weight_scale")]
    assert len(scales) == 1
    assert len(weight_scales) == 2
    assert {decays.pop(id(scale)) for scale in [*scales, *weight_scales]} == {0.0}
    assert set(decays.values()) == {0.5}
    assert len(decays) == 4  # two weights and two biases


def test_what_has_to_be_whole_is_not_averaged(tmp_path: Path) -> None:
    """The pool's shift grows as the weights do; batch norm's statistics and weights follow slowly."""
    torch.manual_seed(0)
    pool = QuantConvAvgPool2d(1, 2, 3, padding=1, pool=2, pool_stride=2, weight_bits=4, in_bits=8, out_bits=4)
    network = nn.Sequential(nn.BatchNorm2d(1), QuantizeInput(8), pool, nn.Flatten(), nn.Linear(32, 2))
    training = Training(epochs=1, batch_size=8, learning_rate=0.1, averaging=0.9)
    state = TrainingState(Stage("w4a8", Precision(4, 8), 0, training, tmp_path / "w4a8.pt"), "", network, CPU)
    for step in range(6):
        state.step(torch.randint(0, 256, (8, 1, 8, 8), dtype=torch.uint8), torch.arange(8) % 2, step, 6, None)
    now, kept = network.state_dict(), state.kept.state_dict()
    assert kept["2.shift"] == now["2.shift"] > 0
    for averaged in ("0.running_mean", "4.weight"):
        assert not torch.equal(kept[averaged], now[averaged])
