"""Settings in force that differ from their defaults, and variables that are no setting at all."""

import difflib
from collections.abc import Mapping

from service.doctor.finding import Finding, ok, warn
from service.settings import Settings

PREFIX = "EMPIR_"
OTHERS = frozenset({"EMPIR_DATA_DIR", "EMPIR_SKIP_NOTHING"})
"""Variables of other commands, and of the tests."""


def changed(settings: Settings) -> Finding:
    """The settings that are not as they come."""
    fields = type(settings).model_fields
    values = {name: getattr(settings, name) for name in fields}
    differ = [f"{PREFIX}{name.upper()}={value}" for name, value in values.items() if value != fields[name].default]
    return ok("settings", ", ".join(differ) or "every one at its default")


def unknown(environment: Mapping[str, str]) -> list[Finding]:
    """A warning for each variable that looks like a setting and is none: a misspelt one changes nothing, silently."""
    known = {f"{PREFIX}{name}" for name in _names()}
    findings = []
    for name in sorted(environment):
        if name.upper().startswith(PREFIX) and name.upper() not in known | OTHERS:
            near = difflib.get_close_matches(name.upper().removeprefix(PREFIX), _names(), 1)
            advice = (
                f"Did you mean {PREFIX}{near[0]}?" if near else "Unset it, or look it up in docs/reference/settings.md"
            )
            findings.append(warn("settings", f"{name} is no setting, and changes nothing", advice))
    return findings


def _names() -> list[str]:
    return [name.upper() for name in Settings.model_fields]
