"""Who may import whom, as design.md has it, by reading the imports and by importing."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

MAY_IMPORT = {
    "models": {"models"},
    "export": {"export", "models", "runtime"},
    "runtime": {"runtime"},
    "robustness": {"robustness", "runtime"},
    "service": {"service", "robustness", "runtime"},
    "loadtest": {"loadtest", "empir_client"},
    "empir_client": {"empir_client"},
}
OUTSIDE = {"empir_client": ROOT / "clients" / "python"}
"""Where packages lie that are distributions of their own."""
SERVED = ("runtime", "robustness", "service")
NEVER_SERVED = {"torch", "onnx", "onnxscript", "pickle", "cloudpickle", "dill", "joblib"}
ATTACK_LIBRARIES = {"pyautoattack", "foolbox", "eagerpy"}
NEVER_LOADED = {"torch", "onnx", "onnxscript", "models", "export", *ATTACK_LIBRARIES}
LENT_TO_LIBRARIES = Path("robustness/reference.py")
"""Lends the served ensemble to AutoAttack and Foolbox; only the command line loads it, on demand."""


def modules(packages: tuple[str, ...]) -> list[Path]:
    """Their files, each from the folder that its package lies in."""
    homes = ((package, OUTSIDE.get(package, ROOT)) for package in packages)
    return [path.relative_to(home) for package, home in homes for path in sorted((home / package).rglob("*.py"))]


def imports(module: Path) -> Iterator[str]:
    """The top names of everything that a module imports, inside functions and for type checkers too."""
    home = OUTSIDE.get(module.parts[0], ROOT)
    for node in ast.walk(ast.parse((home / module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: a relative import"
            yield (node.module or "").split(".")[0]


def test_there_is_something_to_read() -> None:
    assert {path.parts[0] for path in modules(tuple(MAY_IMPORT))} == set(MAY_IMPORT)
    assert "numpy" in set(imports(Path("runtime/vote.py"))) and "torch" in set(imports(Path("models/integer.py")))


@pytest.mark.parametrize("module", modules(tuple(MAY_IMPORT)), ids=str)
def test_packages_import_only_those_below(module: Path) -> None:
    ours = set(imports(module)) & {*MAY_IMPORT, "empir", "tests"}
    assert ours <= MAY_IMPORT[module.parts[0]]


@pytest.mark.parametrize("module", modules(("empir_client",)), ids=str)
def test_the_client_needs_httpx_and_nothing_else(module: Path) -> None:
    assert set(imports(module)) <= {"empir_client", "httpx", *sys.stdlib_module_names}


@pytest.mark.parametrize("module", modules(SERVED), ids=str)
def test_what_is_served_has_no_torch_and_no_pickle(module: Path) -> None:
    if module != LENT_TO_LIBRARIES:
        assert not set(imports(module)) & NEVER_SERVED


@pytest.mark.parametrize("module", modules(tuple(MAY_IMPORT)), ids=str)
def test_only_one_file_knows_the_attack_libraries(module: Path) -> None:
    if module != LENT_TO_LIBRARIES:
        assert not set(imports(module)) & ATTACK_LIBRARIES


def test_the_file_that_lends_itself_does_so() -> None:
    assert {"torch", "pyautoattack", "foolbox"} <= set(imports(LENT_TO_LIBRARIES))


def test_what_is_served_starts_without_torch_and_onnx() -> None:
    """Through other libraries neither; and importing starts no thread."""
    names = [
        ".".join(module.with_suffix("").parts)
        for module in modules(SERVED)
        if module != LENT_TO_LIBRARIES and module.stem not in ("__init__", "__main__")
    ]
    program = f"""
import importlib, sys, threading
for name in {names!r}:
    importlib.import_module(name)
print(sorted({NEVER_LOADED!r} & set(sys.modules)), threading.active_count())
"""
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.split("\n")[0] == "[] 1"
