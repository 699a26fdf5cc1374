"""Command line of robustness: `empir probe`."""

import base64
from pathlib import Path
from typing import Any, get_args

import click
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from robustness.norms import NormName, eps_text
from robustness.parameters import ATTACKS, QUERY_ATTACKS, AttackParameters
from robustness.probe import probe
from robustness.probe_report import Attack, ProbeReport, View
from robustness.victim import Victim
from runtime.cli import bundle_options, open_bundle, read_image
from runtime.errors import EmpirError, described
from runtime.images import decode_pixels
from runtime.terminal import has_colour, percent, picture

WIDE = 96
SENTENCES = {
    "broken": ("broken", "bold red"),
    "not_broken_within_budget": ("not broken within the budget (that is not the same as robust)", "bold green"),
    "wrong_before_attack": ("wrong before the attack", "bold yellow"),
}


@click.group()
def main() -> None:
    """Attack bundles, and measure how robust they are."""


@main.command("probe")
@click.argument("image", type=click.Path(path_type=Path))
@bundle_options
@click.option(
    "--attack",
    type=click.Choice(ATTACKS),
    help="With gradients: one step (fgsm), several (bim, mim, pgd), or of a size that adapts (apgd, the strongest), or "
    "to the smallest change (deepfool; cw-l2 with --norm l2); by queries: square asks for logits, hopskipjump for the "
    "verdict alone. [pgd; square if a gradient graph is missing]",
)
@click.option(
    "--norm",
    type=click.Choice(get_args(NormName)),
    default="linf",
    show_default=True,
    help="What eps limits: the largest change of a pixel (linf), or the length of all changes together (l2).",
)
@click.option(
    "--eps",
    help="Radius of the ball around the image: a number, or a fraction like 8/255. [0.3 for digits, 8/255 for photos]",
)
@click.option("--steps", type=int, help="Of each trajectory, or queries. [40; cw-l2: 200; deepfool: 50; queries: 5000]")
@click.option("--step-size", help="Length of a step. [2.5 eps / steps; apgd: 2 eps at first]")
@click.option("--restarts", type=int, default=1, show_default=True, help="Random starts of every goal.")
@click.option("--label", type=int, help="The true class index. [the clean verdict]")
@click.option("--target", type=int, help="The class index to reach. [any other than the label]")
@click.option("--seed", type=int, default=0, show_default=True, help="Of random starts and directions.")
@click.option("--budget-ms", type=int, default=10_000, show_default=True, help="Time after which the attack stops.")
@click.option("--save", type=click.Path(path_type=Path, file_okay=False), help="Folder for the pictures, as PNG.")
@click.option("--json", "as_json", is_flag=True, help="The report as POST /robustness-probe answers it.")
def probe_command(image: Path, bundle: str, bundles: Path, save: Path | None, as_json: bool, **parameters: Any) -> None:
    """Attack IMAGE, knowing the vote, and show which members fall and whether the verdict holds.

    With gradients, or by queries alone (square, hopskipjump), as members without gradient graphs need it.

    Exits with 0 whatever the attack finds.

    \b
    Examples:
      empir probe samples/7.png
      empir probe samples/7.png --eps 0.1 --restarts 5
      empir probe samples/7.png --attack fgsm --norm l2 --eps 2 --json
    """
    try:
        opened = open_bundle(bundles, bundle, gradients=True)
        pixels = read_image(image, opened.manifest.input)
        if save is not None:
            save.mkdir(parents=True, exist_ok=True)  # where that cannot be done nothing need be attacked
        victim = Victim.of_bundle(opened)
        report = probe(victim, opened.manifest, pixels, AttackParameters(**parameters))
        victim.close()
        if save is not None:
            _save(report, save)
    except (EmpirError, OSError) as error:
        raise click.ClickException(described(error)) from error
    if as_json:
        click.echo(report.model_dump_json())
    else:
        console = Console()
        console.print(show(report, opened.manifest.input.channels, console))


def _save(report: ProbeReport, folder: Path) -> None:
    for name, png in report.images:
        (folder / f"{name}.png").write_bytes(base64.b64decode(png))


def show(report: ProbeReport, channels: int, console: Console) -> Group:
    """The report for people: image, change and adversarial image side by side, and every member before and after.

    Without an adversarial image nothing stands in its place.
    """
    attack, (sentence, style) = report.attack, SENTENCES[report.outcome]
    ball = f"{attack.norm} eps {eps_text(attack.eps)}"
    lines = [
        Text.assemble(("the vote is ", ""), (sentence, style)),
        Text(f"{attack.name}, {ball}, {_effort(attack)}; {report.queries:,} queries, {report.time_ms:.0f} ms", "dim"),
    ]
    if report.smallest_eps is not None:
        lines.append(Text(f"along this direction it falls from {attack.norm} {report.smallest_eps:.3f} on"))
    lines += [Text(f"note: {warning}", "yellow") for warning in report.warnings]
    return Group(_pictures(report, channels, console), Text(), _members(report), Text(), *lines)


def _effort(attack: Attack) -> str:
    if attack.step_size is None:
        return f"up to {attack.steps:,} {'queries' if attack.name in QUERY_ATTACKS else 'steps'}"
    starts = f"{attack.restarts} start{'s' * (attack.restarts > 1)}"
    return f"{attack.steps} step{'s' * (attack.steps > 1)} of {attack.step_size:.4g}, {starts}"


def _pictures(report: ProbeReport, channels: int, console: Console) -> Table:
    """The image, and where an adversarial one was found, the change and that one beside it."""
    shown = {name: decode_pixels(base64.b64decode(png), channels) for name, png in report.images}
    heads = {"original": Text.assemble(("image: ", "dim"), _said(report.clean))}
    if report.adversarial is not None and report.perturbation is not None:
        heads["perturbation"] = Text(f"change (up to {report.perturbation.linf:.3f})", "dim")
        heads["adversarial"] = Text.assemble(("attacked: ", "dim"), _said(report.adversarial))
    gap = 3 if console.width >= WIDE else 1
    columns, colour = (console.width - 2 * gap) // 3, has_colour(console)
    grid = Table.grid(padding=(0, gap))
    grid.add_row(*heads.values())
    grid.add_row(*(picture(shown[name], colour=colour, columns=min(columns, 64)) for name in heads))
    return grid


def _said(view: View) -> tuple[str, str]:
    if view.label is None or view.confidence is None:
        return "no quorum", "bold"
    text = f"{view.label} ({percent(view.confidence)})"
    return (f"{text}, suspicious" if view.suspicious else text), "bold"


def _members(report: ProbeReport) -> Table:
    """Every member before, and on the adversarial image where one was found."""
    found = report.adversarial
    table = Table(
        "member",
        "precision",
        "before",
        "after",
        "margin before",
        "margin after",
        box=None,
        header_style="dim",
        pad_edge=False,
    )
    for member in report.members:
        after = Text("" if found is None else member.label_after or "none", "bold red" if member.flipped else "")
        margins = (_margin(member.margin_before), _margin(member.margin_after))
        table.add_row(member.name, str(member.precision), member.label_before or "none", after, *margins)
    before, now = report.clean.label or "none", "" if found is None else found.label or "none"
    table.add_row("vote", "", before, Text(now, "red" if before != now else ""), style="bold")
    return table


def _margin(margin: float | None) -> str:
    return "" if margin is None else f"{margin:+.1f}"
