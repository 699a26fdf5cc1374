"""tests/docs_commands.py: what it takes for a command, and that it does not let one fail in silence."""

from pathlib import Path

import pytest

from tests.docs_commands import Block, Failure, blocks_of, run_blocks, substituted

TEXT = """# A page

<!-- says: two, lines -->
```console
$ echo one
one
$ echo two \\
>   lines
```

```python
$ not a command
```

```console not run here
$ rm -rf everything
```
"""


def block(*commands: str, says: tuple[str, ...] = (), runs: bool = True) -> Block:
    return Block(1, commands, says, runs)


def test_blocks_are_found_with_their_lines_and_words() -> None:
    assert blocks_of(TEXT) == [
        Block(4, ("echo one", "echo two \\\n  lines"), ("two", "lines"), runs=True),
        Block(15, ("rm -rf everything",), (), runs=False),
    ]


def test_commands_run_in_order_in_one_folder(tmp_path: Path) -> None:
    run_blocks(
        [block("echo cat > pet"), block("cat pet", 'echo "$COLOUR"', says=("cat", "red"))],
        tmp_path / ".",
        {"COLOUR": "red"},
    )
    assert (tmp_path / "pet").read_text() == "cat\n"


def test_a_block_that_is_not_to_run_does_not(tmp_path: Path) -> None:
    run_blocks([block("touch here", runs=False)], tmp_path, {})
    assert not (tmp_path / "here").exists()


@pytest.mark.parametrize(
    ("failing", "reason"),
    [
        pytest.param(block("echo before", "echo words; exit 3"), "exited with 3\nwords", id="exit code"),
        pytest.param(block("echo words", says=("figures",)), "expected it to say 'figures'\nwords", id="key word"),
        pytest.param(block("exit 0 &"), "ended at once", id="background"),
    ],
)
def test_a_command_that_fails_is_named(failing: Block, reason: str, tmp_path: Path) -> None:
    with pytest.raises(Failure) as raised:
        run_blocks([failing], tmp_path, {})
    assert str(raised.value).startswith("line 1: ") and reason in str(raised.value)


def test_a_command_in_the_background_runs_until_the_end(tmp_path: Path) -> None:
    run_blocks(
        [
            block("trap 'touch ended; exit' TERM; echo ready; while :; do sleep 0.05; done &", says=("ready",)),
            block("! test -e ended"),
        ],
        tmp_path,
        {},
    )
    assert (tmp_path / "ended").exists()


def test_empir_is_this_checkouts(tmp_path: Path) -> None:
    run_blocks([block("empir --help", says=("Ensembles of full- and low-precision",))], tmp_path, {})


def test_parts_are_replaced_and_must_be_there() -> None:
    assert substituted([block("train --size 64", "serve")], {"--size 64": "--size 16"}) == [
        block("train --size 16", "serve")
    ]
    with pytest.raises(ValueError, match="expected a command with '--epochs 20', there is none"):
        substituted([block("train --size 64")], {"--epochs 20": "--epochs 1"})
