"""What `empir quantize` is asked for: the command in a bundle's manifest asks for the same again."""

import shlex
from pathlib import Path

import click
import pytest

from export.post_training.classifier import Preprocessing
from export.post_training.quantization import CORRECTED, PLAIN
from export.quantize_cli import quantize
from export.quantize_request import Request, request_of

BEFORE = {"force", "as_json"}
"""Of the command alone."""


def asked(arguments: list[str]) -> Request:
    params = quantize.make_context("quantize", list(arguments)).params
    return request_of(**{name: value for name, value in params.items() if name not in BEFORE})


COMMANDS = {
    "defaults": "",
    "numbers": "--input-range=-1,255 --mean=-0.25,0.5,0.49803922 --std=0.5,1e-05,2",
    "pictures": "--resize=stretch --calibration-images=8 --figure-images=64 --skip-unreadable",
    "method": "--members int8,w4a8 --plain --labels imagenet",
    "a file": "--labels 'lists/my labels.txt'",
}


@pytest.mark.parametrize("options", COMMANDS.values(), ids=COMMANDS.keys())
def test_the_command_asks_for_the_same_again(options: str) -> None:
    request = asked(["nets/net.onnx", "--calibration", "photos/train", "--out", "out/net", *shlex.split(options)])
    program, name, *again = shlex.split(request.command())
    assert (program, name) == ("empir", "quantize")
    assert asked(again) == request
    assert all(option in request.command() for option in shlex.split(options) if option.startswith("--"))


def test_what_was_not_chosen_is_not_said_and_folders_are_nobodys_business() -> None:
    request = asked(["/home/me/net.onnx", "--calibration", "/home/me/photos", "--out", "/srv/net"])
    expected = "empir quantize net.onnx --calibration photos --members fp32,int8,w4a8 --out net"
    assert request.command() == expected
    assert (request.model, request.calibration, request.out) == tuple(
        map(Path, ("/home/me/net.onnx", "/home/me/photos", "/srv/net"))
    )
    assert request.preprocessing == Preprocessing(0, 1, (0,), (1,))
    assert (request.method, asked(["net.onnx", "--calibration", "p", "--out", "n", "--plain"]).method) == (
        CORRECTED,
        PLAIN,
    )


def test_below_the_working_folder_an_absolute_path_is_as_if_given_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    request = asked(["net.onnx", "--calibration", str(tmp_path / "photos/train"), "--out", f"{tmp_path}/out/net"])
    assert request.command() == (
        "empir quantize net.onnx --calibration photos/train --members fp32,int8,w4a8 --out out/net"
    )


@pytest.mark.parametrize(
    "wrong", ["--input-range=0", "--input-range=1,0", "--input-range=0,1,2", "--std=0", "--std=1,-1"]
)
def test_numbers_that_cannot_be(wrong: str) -> None:
    with pytest.raises(
        click.UsageError, match="expected --input-range LOW,HIGH with LOW below HIGH, and --std above 0"
    ):
        asked(["net.onnx", "--calibration", "photos", "--out", "net", wrong])
