"""Write docs/reference/ again from the code: `make docs`, or `python -m docs.generate`."""

import ast
import inspect
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import click
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

import service.cli
from robustness.parameters import ATTACKS
from robustness.probe_report import Outcome
from runtime.errors import EmpirError
from runtime.manifest import Manifest
from runtime.prediction import MODES
from service import settings
from service.app import create_app
from service.catalog import Catalog
from service.errors import HTTP_CODES, REFUSALS, STATUS
from service.metrics import AUDITS, OUTCOMES, REASONS, RELOADS, STAGES, Metrics
from service.settings import Settings

REFERENCE = Path(__file__).parent / "reference"
NOTE = "<!-- Written by docs/generate.py: change the code, then `make docs`. -->\n"


def pages() -> dict[str, Callable[[], str]]:
    """The pages of the reference: file name to what writes its text."""
    return {
        "settings.md": settings_page,
        "http.md": http_page,
        "metrics.md": metrics_page,
        "manifest.md": manifest_page,
    }


def main() -> None:
    for name, text in pages().items():
        (REFERENCE / name).write_text(text(), encoding="utf-8")


def settings_page() -> str:
    """Every field of Settings: variable, default, what is allowed, meaning, flag."""
    options = {option.name for option in service.cli.main.commands["serve"].params if isinstance(option, click.Option)}
    words = dict(_documented(settings))
    rows = []
    for name, field in Settings.model_fields.items():
        flag = f"`--{name.replace('_', '-')}`" if name in options else ""
        limits = ", ".join(_bound(each) for each in field.metadata if _bound(each))
        default = "none" if field.default is None else f"`{field.default}`"
        rows.append([f"`EMPIR_{name.upper()}`", default, _type(field.annotation), limits, words[name], flag])
    return _page(
        "Settings",
        "Each is an environment variable; those with a flag are options of `empir serve` too, and the flag counts "
        "where both are given. A value that is not allowed keeps the server from starting, and is named. "
        "`empir doctor` shows which settings differ from their defaults.",
        _table(["variable", "default", "type", "allowed", "", "flag"], rows),
    )


def metrics_page() -> str:
    """Every metric: name, type, labels, meaning."""
    rows = []
    for metric in _metrics(Metrics(CollectorRegistry())):
        (family,) = metric.describe()
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = ", ".join(f"`{label}`" for label in metric._labelnames)
        rows.append([f"`{name}`", family.type, labels, family.documentation])
    sets: dict[str, Iterable[str]] = {
        "attack": ATTACKS,
        "mode": MODES,
        "outcome` of predictions": OUTCOMES,
        "outcome` of probes": get_args(Outcome),
        "outcome` of reloads": RELOADS,
        "reason` of failures": REASONS,
        "reason` of refusals": sorted(REFUSALS),
        "result` of audits": AUDITS,
        "stage": STAGES,
    }
    values = [
        [f"`{label}" + ("" if "`" in label else "`"), ", ".join(f"`{v}`" for v in each)] for label, each in sets.items()
    ]
    return _page(
        "Metrics",
        "`GET /metrics` has them in Prometheus's text format. Times are seconds; labels have closed sets of values, so "
        "that the number of series is bounded.",
        _table(["metric", "type", "labels", ""], rows),
        "## Values of labels",
        _table(["label", "values"], values),
    )


def manifest_page() -> str:
    """Every field of bundle.json, part by part."""
    schema = Manifest.model_json_schema()
    described = [("bundle.json", schema), *schema["$defs"].items()]
    return _page(
        "The manifest",
        "`bundle.json` says what a bundle is. Keys that are not here are refused, and so are a name that is not the "
        "folder's and a file whose sha256 is another. The schema: "
        "[manifest.schema.json](../../runtime/manifest.schema.json).",
        *[text for name, part in described for text in _section(name, part)],
    )


def http_page() -> str:
    """Every operation of the OpenAPI schema, the errors, and the parts of its answers."""
    schema = create_app(Settings.model_construct(), _NoBundles(), seed=0).openapi()
    sections = [text for path, methods in schema["paths"].items() for text in _operations(path, methods)]
    statuses = STATUS | {code: status for status, code in HTTP_CODES.items()} | {"internal": 500}
    meanings = MEANINGS | {kind.code: inspect.getdoc(kind) for kind in _kinds(EmpirError) if kind.code in STATUS}
    codes = sorted((status, code) for code, status in statuses.items())
    schemas = schema.get("components", {}).get("schemas", {})
    parts = [text for name, part in schemas.items() for text in _section(name, part, "###")]
    return _page(
        "HTTP",
        "The server shows the same at `/docs`, to try by hand, and as OpenAPI at `/openapi.json`. Every answer has an "
        "`X-Request-ID`, the caller's if it sent one. The [Python client](../../clients/python/README.md) types it.",
        *sections,
        "## Errors",
        "`application/problem+json` with `status`, `code`, `detail` and `request_id`. The code is a stable word for "
        "programs, the detail a sentence for people. 429 and `unavailable` say in `Retry-After` when to come back.",
        _table(["status", "code", ""], [[str(status), f"`{code}`", str(meanings[code])] for status, code in codes]),
        "## Parts of answers",
        *parts,
    )


FRAMEWORKS_WORDS = "Successful Response"

MEANINGS = {
    "not_found": "No such path.",
    "method_not_allowed": "A path that does not take this method.",
    "internal": "The server failed; its log has the cause under the answer's `request_id`.",
}
"""Of the codes that have no class of their own."""


def _kinds(error: type[EmpirError]) -> Iterator[type[EmpirError]]:
    """The classes of errors that have a code of their own, below one."""
    for kind in error.__subclasses__():
        if "code" in vars(kind):
            yield kind
        yield from _kinds(kind)


class _NoBundles(Catalog):
    """A catalog for an application that is only described."""

    def __init__(self) -> None:
        self._by_name, self.damaged = {}, {}
        self.default = ""


def _operations(path: str, methods: Mapping[str, Any]) -> Iterator[str]:
    for method, operation in methods.items():
        yield f"## {method.upper()} {path}"
        yield str(operation.get("description") or operation.get("summary", "")).strip()
        if parameters := operation.get("parameters"):
            rows = [
                [f"`{p['name']}`", p["in"], _schema_type(p["schema"]), _default(p["schema"]), _words(p)]
                for p in parameters
            ]
            yield _table(["parameter", "in", "type", "default", ""], rows)
        if content := operation.get("requestBody", {}).get("content"):
            yield f"Body: {', '.join(f'`{kind}`' for kind in content)}."
        yield _table(["status", ""], [[status, _answer(each)] for status, each in operation["responses"].items()])


def _answer(response: Mapping[str, Any]) -> str:
    """What an operation answers: in words where the code has its own, and the part that it is."""
    words = str(response.get("description", "")).replace(FRAMEWORKS_WORDS, "")
    kinds = response.get("content", {})
    parts = {_schema_type(each["schema"]) for each in kinds.values() if "$ref" in each.get("schema", {})}
    if not words and not parts:
        return ", ".join(f"`{kind}`" for kind in kinds)
    return " ".join(filter(None, [words, *sorted(parts)]))


def _section(name: str, part: Mapping[str, Any], level: str = "##") -> Iterator[str]:
    yield f"{level} {name}"
    if name != "bundle.json" and part.get("description"):
        yield part["description"]
    required = part.get("required", [])
    rows = [
        [f"`{key}`", _schema_type(each), "required" if key in required else _default(each), _words(each)]
        for key, each in part.get("properties", {}).items()
    ]
    if rows:
        yield _table(["field", "type", "default", ""], rows)


def _schema_type(schema: Mapping[str, Any]) -> str:
    """A JSON schema's type in a few words, with its bounds."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_schema_type(each) for each in schema["anyOf"]))
    if "const" in schema or "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    kind = str(schema.get("type", "anything"))
    if kind == "array":
        items = schema.get("items") or {"anyOf": schema.get("prefixItems", [{}])}
        return f"list of {_schema_type(items)}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"object of {_schema_type(schema['additionalProperties'])}"
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = ", ".join(f"{sign} {schema[key]:g}" for key, sign in bounds.items() if key in schema)
    return f"{kind} {limits}".strip()


def _default(schema: Mapping[str, Any]) -> str:
    return f"`{json.dumps(schema['default'])}`" if "default" in schema else ""


def _words(schema: Mapping[str, Any]) -> str:
    return str(schema.get("description", "")).replace("\n", " ")


def _documented(module: Any) -> Iterator[tuple[str, str]]:
    """Each field of a module's one class, and the string below it."""
    (body,) = (node.body for node in ast.parse(inspect.getsource(module)).body if isinstance(node, ast.ClassDef))
    for field, following in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            assert isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            yield field.target.id, str(following.value.value)


def _type(annotation: Any) -> str:
    """A setting's type as people write its value."""
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    for path in ("typing.Literal", "pydantic.types.", "pathlib."):
        text = text.replace(path, "")
    return text.strip("[]").replace("'", "").replace("|", "or").replace("SecretStr", "secret").replace("None", "none")


def _bound(metadata: Any) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    return next((f"{sign} {getattr(metadata, name)}" for name, sign in signs.items() if hasattr(metadata, name)), "")


def _metrics(metrics: Metrics) -> list[MetricWrapperBase]:
    return [value for value in vars(metrics).values() if isinstance(value, MetricWrapperBase)]


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _page(title: str, *sections: str) -> str:
    return "\n\n".join([f"# {title}", NOTE.strip(), *(each for each in sections if each)]) + "\n"


if __name__ == "__main__":
    main()
