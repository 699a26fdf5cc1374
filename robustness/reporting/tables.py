"""The tables of a report, counted from the findings."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from robustness.evaluation.findings import Findings
from robustness.evaluation.ledger import STANDS
from robustness.evaluation.steps import CLEAN, PAPER, Step, build, parameters_of
from robustness.evaluation.suites import CURVE_IMAGES, Target, curve_label
from robustness.norms import eps_text
from robustness.reporting import paper
from robustness.reporting.paired import compared
from robustness.reporting.report import (
    AGAINST_FULL,
    BEST_MEMBER,
    SUITE,
    VOTE,
    AttackRow,
    ClassRow,
    Compared,
    Comparison,
    Curve,
    ImageRow,
    MemberRow,
    Paper,
    PaperRow,
    Sizes,
    Transfer,
)
from robustness.reporting.share import Share
from robustness.reporting.sizes import sizes_of

Values = NDArray[np.float64]


def attack_rows(findings: Findings) -> list[AttackRow]:
    """One for each step but the clean images."""
    return [
        _attack_row(findings, number, step) for number, step in enumerate(findings.plan.steps) if step.attack != CLEAN
    ]


def _attack_row(findings: Findings, number: int, step: Step) -> AttackRow:
    row, first = findings.rows[number], findings.broken_by[0]
    attacked = int(row.given.sum())
    standing = Share.of(int(((first == STANDS) | (first > number)).sum()), findings.n)
    return AttackRow(
        name=step.name,
        on=step.on,
        purpose=step.purpose,
        threat_model=build(step).threat_model,
        note=step.note,
        parameters=parameters_of(step),
        attacked=attacked,
        found=int(row.found.sum()),
        first=int((first == number).sum()),
        accuracy=None if step.cascade or step.purpose == "nearest" else Share.of(int(row.right.sum()), attacked),
        standing=None if step.purpose == "nearest" else standing,
        **asdict(row.cost) | {"seconds": round(row.cost.seconds, 3)},
    )


def member_rows(findings: Findings, zero_gradients: Mapping[str, Share]) -> list[MemberRow]:
    rows, attacked_alone = [], _attacked_alone(findings)
    for index, member in enumerate(findings.plan.manifest.members, start=1):
        broken_by = findings.broken_by[index]
        numbers, counts = np.unique(broken_by[broken_by > 0], return_counts=True)
        own = Share.of(int((findings.broken_alone_by[index] == STANDS).sum()), findings.n)
        rows.append(
            MemberRow(
                name=member.name,
                precision=member.precision,
                clean=findings.clean(member.name),
                robust=findings.robust(member.name),
                own=own if member.name in attacked_alone else None,
                broken_by={findings.plan.steps[i].name: int(c) for i, c in zip(numbers, counts, strict=True)},
                zero_gradients=zero_gradients.get(member.name),
            )
        )
    return rows


def comparisons(findings: Findings) -> list[Comparison]:
    """The vote against its best member, and each low-precision member against the full-precision one.

    Only of members that the suite attacked alone: what was made on others leaves too much of the rest. The best is one
    of all members or none.
    """
    members, alone = findings.plan.manifest.members, _attacked_alone(findings)
    rows = []
    if {member.name for member in members} <= alone:
        best = max((member.name for member in members), key=lambda name: findings.robust(name).count)
        rows.append(_comparison(findings, BEST_MEMBER, VOTE, best))
    full = Target(findings.plan.manifest, findings.plan.norm, findings.plan.eps).full_precision
    if full in alone:
        rows += [
            _comparison(findings, AGAINST_FULL, member.name, full)
            for member in members
            if not member.precision.is_float and member.name in alone
        ]
    return rows


def _comparison(findings: Findings, what: Compared, first: str, second: str) -> Comparison:
    one, other = findings.stands(first), findings.stands(second)
    return compared(what, first, second, int((one & ~other).sum()), int((other & ~one).sum()), findings.n)


def _attacked_alone(findings: Findings) -> set[str]:
    return {step.on for purpose in SUITE for _, step in findings.steps(purpose)} - {VOTE}


def transfer(findings: Findings) -> Transfer:
    pairs = zip(findings.fooled.tolist(), findings.shown.tolist(), strict=True)
    fooled = [[Share.of(count, n) if n else None for count, n in zip(*row, strict=True)] for row in pairs]
    return Transfer(names=findings.targets, fooled=fooled, counts="images")


def curve(findings: Findings) -> Curve:
    """From the steps of the curve, before which stands the clean accuracy of the same images."""
    plan, n = findings.plan, min(CURVE_IMAGES, findings.n)
    grid = sorted({step.settings.eps for _, step in findings.steps("curve")})
    series, attack = {}, {}
    for index, target in enumerate(findings.targets):
        rows = [findings.labelled(curve_label(eps), target) for eps in grid]
        wrong = [int(findings.wrong_clean[index][:n].sum())]
        wrong += [int(findings.wrong_after(row, target).sum()) for row in rows if row is not None]
        if grid and len(wrong) == 1 + len(grid):
            series[target] = [Share.of(n - count, n) for count in wrong]
            attack[target] = next(s.attack for s in plan.steps if (s.purpose, s.on) == ("curve", target))
    return Curve(n=n, attack=attack, eps=[0.0, *grid], series=series)


def class_rows(images: Sequence[ImageRow], labels: Sequence[str]) -> list[ClassRow]:
    """Of each class that has images."""
    rows = []
    for index, label in enumerate(labels):
        mine = [image for image in images if image.label == index]
        if not mine:
            continue
        verdicts = Counter(image.verdict for image in mine if image.verdict is not None)
        rows.append(
            ClassRow(
                label=label,
                clean=Share.of(sum(image.outcome != "wrong" for image in mine), len(mine)),
                robust=Share.of(sum(image.outcome == "not_broken" for image in mine), len(mine)),
                becomes={"none" if v == STANDS else labels[v]: verdicts[v] for v in sorted(verdicts)},
            )
        )
    return rows


def sizes(findings: Findings, shortest: Values) -> Sizes:
    """`shortest` [K]: for the images kept, the size at which the verdict falls."""
    return sizes_of(shortest, findings.plan.eps, searched=bool(findings.steps("nearest")))


def image_rows(findings: Findings, shortest: Values) -> list[ImageRow]:
    """`shortest` as in `sizes`."""
    drawn, steps = findings.plan.drawn, findings.plan.steps
    kept = dict(zip(findings.kept.tolist(), shortest.tolist(), strict=True))
    fallen = {name: ~findings.stands(name) for name in findings.targets[1:]}
    rows = []
    for image in range(findings.n):
        broken_by = int(findings.broken_by[0, image])
        rows.append(
            ImageRow(
                index=int(drawn.indices[image]),
                label=int(drawn.labels[image]),
                clean_verdict=int(findings.clean_verdict[image]),
                outcome=findings.outcome(image),
                broken_by=None if broken_by == STANDS else steps[broken_by].name,
                verdict=int(findings.verdict[image]) if image in kept else None,
                size=round(kept[image], 6) if image in kept else None,
                kept_size=round(float(findings.size[image]), 6) if image in kept else None,
                smallest_by=steps[findings.smallest_by[image]].name if image in kept else None,
                members_fallen=[name for name, flags in fallen.items() if flags[image]],
            )
        )
    return rows


def paper_table(findings: Findings) -> Paper | None:
    """The paper's own table, where its attacks were run."""
    plan = findings.plan
    if not findings.steps("paper"):
        return None
    member = Target(plan.manifest, plan.norm, plan.eps).full_precision
    rows = []
    for what, network, on in ((f"{member} alone", "fp32", member), ("ensemble", "EMPIR", VOTE)):
        assert on is not None
        ours = {"clean": findings.clean(on)}
        for number, step in findings.steps("paper"):
            if step.on == on:
                ours[step.attack.removeprefix(PAPER)] = Share.of(int(findings.rows[number].right.sum()), findings.n)
        mean = round(100 * sum(ours[name].share for name in paper.ATTACKS) / len(paper.ATTACKS), 2)
        theirs = paper.figures(plan.manifest.provenance.data_set, network)
        rows.append(PaperRow(what=what, paper=theirs, ours=ours, ours_mean=mean))
    title = "Sen et al. (ICLR 2020) beside ours, accuracy in per cent under the paper's own attacks"
    warnings = [*paper.WARNINGS, *_at_smaller_eps(findings)]
    return Paper(title=title, columns=[*paper.COLUMNS, "mean"], rows=rows, warnings=warnings)


def _at_smaller_eps(findings: Findings) -> list[str]:
    """What adaptive attacks leave that were run at an eps below the paper's, in words."""
    left: dict[float, NDArray[np.bool_]] = {}
    for number, step in findings.steps("worst case"):
        if step.on == VOTE and step.settings.eps < findings.plan.eps:
            right = findings.rows[number].right
            left[step.settings.eps] = left.get(step.settings.eps, right) & right
    shares = {eps: Share.of(int(right.sum()), findings.n) for eps, right in left.items()}
    return [
        f"At eps {eps_text(eps)}, which the literature has used since, attacks that know the vote leave "
        f"{share.share:.1%} of {share.n} images (95% interval {share.low:.1%} to {share.high:.1%})."
        for eps, share in shares.items()
    ]
