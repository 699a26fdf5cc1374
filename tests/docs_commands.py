"""The commands of a document, run as a reader runs them: in order, in one folder, each with the exit code 0.

A block of commands is fenced as ```console; a line that begins with `$ ` is a command (`> ` goes on with it), others
are what it says, which is not compared. What a run must say stands in a comment above the block, which a reader of the
page does not see:

    <!-- says: 3 classes, the ensemble -->
    ```console
    $ empir train --images photos --out bundles/photos
    ```

A command that ends in ` &` runs on until the last block is done; the next one waits until it has said something. A
block whose fence says ```console not run here``` is listed and not run.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.live import HANG_S
from tests.programs import ROOT, environment

FENCE = re.compile(r"^(?:<!-- says: (?P<says>.*?) -->\n)?```console(?P<words>[^\n]*)\n(?P<body>.*?)^```$", re.M | re.S)
NOT_RUN = "not run here"


@dataclass(frozen=True)
class Block:
    """Commands that stand together, the line of their fence, and key words that their output must have."""

    line: int
    commands: tuple[str, ...]
    says: tuple[str, ...]
    runs: bool


@dataclass(eq=False)
class Failure(Exception):
    """A command of a document that did not do what the document says."""

    line: int
    command: str
    reason: str
    output: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.command}: {self.reason}\n{self.output}"


def blocks_of(text: str) -> list[Block]:
    """The blocks of commands of a document in Markdown, in order."""
    blocks = []
    for found in FENCE.finditer(text):
        says = tuple(word.strip() for word in (found["says"] or "").split(",") if word.strip())
        line = text.count("\n", 0, found.start("words")) + 1
        blocks.append(Block(line, _commands(found["body"]), says, NOT_RUN not in found["words"]))
    return blocks


def substituted(blocks: Sequence[Block], instead: Mapping[str, str]) -> list[Block]:
    """The blocks with parts of their commands replaced, so that a test takes seconds. Raises ValueError if a part is in
    no command: the document has changed.
    """
    commands = "\n".join(command for block in blocks for command in block.commands)
    for part in instead:
        if part not in commands:
            raise ValueError(f"expected a command with {part!r}, there is none")
    return [
        Block(block.line, tuple(_replaced(command, instead) for command in block.commands), block.says, block.runs)
        for block in blocks
    ]


def run_blocks(blocks: Sequence[Block], folder: Path, variables: Mapping[str, str], timeout_s: float = 600) -> None:
    """Run the commands of `blocks` in `folder`, with `empir` being this checkout's. Raises Failure at the first that
    exits with another code than 0, or does not say its key words.
    """
    programs = _programs(folder)
    env = {**environment(), "COLUMNS": "120", **variables, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    with ExitStack() as stack:
        for block in (block for block in blocks if block.runs):
            output = ""
            for command in block.commands:
                if command.endswith(" &"):
                    output += stack.enter_context(_in_background(block, command.removesuffix(" &"), folder, env))
                else:
                    output += _run(block, command, folder, env, timeout_s)
            for word in block.says:
                if word not in output:
                    raise Failure(block.line, block.commands[-1], f"expected it to say {word!r}", output)


def _commands(body: str) -> tuple[str, ...]:
    commands: list[str] = []
    for line in body.splitlines():
        if line.startswith("$ "):
            commands.append(line[2:])
        elif line.startswith("> ") and commands:
            commands[-1] += "\n" + line[2:]
    return tuple(commands)


def _replaced(command: str, instead: Mapping[str, str]) -> str:
    for part, other in instead.items():
        command = command.replace(part, other)
    return command


def _programs(folder: Path) -> Path:
    """A folder with a program `empir`, beside the folder where the commands run."""
    programs = folder.with_name(f"{folder.name}-programs")
    programs.mkdir(exist_ok=True)
    program = programs / "empir"
    line = f"PYTHONPATH={shlex.quote(str(ROOT))} exec {shlex.quote(sys.executable)} -m empir"
    program.write_text(f'#!/bin/sh\n{line} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return programs


def _run(block: Block, command: str, folder: Path, env: Mapping[str, str], timeout_s: float) -> str:
    with _started(command, folder, env) as process:
        try:
            output, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise Failure(block.line, command, f"took more than {timeout_s:g} s", "") from error
    if process.returncode != 0:
        raise Failure(block.line, command, f"exited with {process.returncode}", output)
    return output


@contextmanager
def _in_background(block: Block, command: str, folder: Path, env: Mapping[str, str]) -> Iterator[str]:
    """The first line that the command says; it is ended, as a server is, with the block."""
    with _started(command, folder, env) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        if not first or process.poll() is not None:
            raise Failure(block.line, command, "ended at once", first + process.stdout.read())
        yield first
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=HANG_S)


@contextmanager
def _started(command: str, folder: Path, env: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """The command in a group of its own, none of which outlives the block."""
    with subprocess.Popen(
        ["bash", "-c", command],
        cwd=folder,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate(timeout=HANG_S)
