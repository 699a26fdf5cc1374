"""export/training/state.py: what weight decay pulls at, and what it leaves alone."""

from pathlib import Path

import pytest
import torch
from torch import nn

from export.training.recipe import Training
from export.training.state import Stage, TrainingState
from models.learned import Scale
from models.precision import Precision
from models.quantization import quantized


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "adam"])
def test_scales_do_not_decay(tmp_path: Path, optimizer: str) -> None:
    torch.manual_seed(0)
    images = torch.rand(8, 4)
    network = quantized(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)), Precision(4, 4), images)
    training = Training(epochs=1, batch_size=8, learning_rate=1e-2, optimizer=optimizer, weight_decay=0.5)  # type: ignore[arg-type]
    state = TrainingState(Stage("w4a4", Precision(4, 4), 0, training, tmp_path / "w4a4.pt"), "", network)
    groups = state._optimizer.param_groups
    decays = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    scales = [module.log for module in network.modules() if isinstance(module, Scale) and module.log.requires_grad]
    weight_scales = [value for name, value in network.named_parameters() if name.endswith("log_weight_scale")]
    assert len(scales) == 1
    assert len(weight_scales) == 2
    assert {decays.pop(id(scale)) for scale in [*scales, *weight_scales]} == {0.0}
    assert set(decays.values()) == {0.5}
    assert len(decays) == 4  # two weights and two biases
