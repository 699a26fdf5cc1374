"""Sections about attacks: each with every parameter, accuracy against eps, and what transfers."""

from robustness.norms import eps_text
from robustness.reporting.page.charts import accuracy_chart, series_class
from robustness.reporting.page.markup import Content, Element, element, join
from robustness.reporting.page.parts import (
    NORM_NAMES,
    Column,
    Section,
    attack_text,
    columns,
    folded,
    interval,
    note,
    parameters,
    percent,
    share_cell,
    table,
)
from robustness.reporting.report import AttackRow, Report, Transfer
from robustness.reporting.share import Share

HEADS = columns("Attack|On|Still right so far", "Tried on|Found|First|Seconds|Queries|Gradients")


def curve(report: Report) -> Section | None:
    """Accuracy against eps, as lines and as a table."""
    data = report.curve
    if not data.series:
        return None
    series = list(data.series.values())
    keys = [element("span", _swatch(index), name, class_="key") for index, name in enumerate(data.series)]
    chart = accuracy_chart(data.eps, data.series, report.eps, f"eps, {NORM_NAMES.get(report.norm, report.norm)}")
    rows: list[list[Content]] = [
        [eps_text(eps), *(join(percent(each[place].share), element("small", interval(each[place]))) for each in series)]
        for place, eps in enumerate(data.eps)
    ]
    heads = columns("eps", "|".join(data.series))
    attacks = ", ".join(f"{attack} on {name}" for name, attack in data.attack.items())
    body = join(
        element("div", *keys, class_="keys"),
        chart,
        note(
            f"Each eps attacked anew on the first {data.n} images: {attacks}. Bands are 95% intervals. One attack an "
            f"eps, so at {eps_text(report.eps)} the worst case over the whole suite may lie lower."
        ),
        folded("The numbers", table("Accuracy against eps", heads, rows)),
    )
    return Section("eps", "Accuracy against eps", body, half=True)


def _swatch(index: int) -> Element:
    mark = element("line", x1=0, x2=22, y1=5, y2=5, class_="line")
    return element("svg", mark, viewBox="0 0 22 10", class_=f"swatch series {series_class(index)}", aria_hidden="true")


def attacks(report: Report) -> Section:
    """Every attack, in the order in which they ran; those of the curve and of the checks folded away."""
    parts = []
    main = [row for row in report.attacks if row.purpose == "worst case"]
    on_all = [row for row in main if row.accuracy is not None]
    in_turn = [row for row in main if row.accuracy is None]
    if in_turn:
        text = (
            "In the order in which they ran. Those on the vote are tried on the images that none before has turned, "
            "those on a member on the images that still stand against attacks on it; all is shown to the vote."
        )
        parts += [note(text), table("Attacks of the worst case", HEADS, [_row(row) for row in in_turn])]
    if report.claims:
        text = "Images that somebody found after the suite had run, judged by the served vote and entered."
        heads = columns("Claim|On|Still right so far", "Images|In the ball|First")
        rows = [_row(row)[:6] for row in report.claims]
        parts += [element("h3", "Claims entered"), note(text), table("Claims entered", heads, rows)]
    papers = [row for row in report.attacks if row.purpose == "paper"]
    if papers:
        parts += [element("h3", "The paper's own"), _each_alone("Attacks of the paper", papers)]
    if on_all:
        text = "On all images, each for itself, those at a smaller eps included: what turns an image counts above too."
        parts += [
            element("h3", "By an attacker who knows the vote"),
            note(text),
            _each_alone("Other attackers", on_all),
        ]
    others = [row for row in report.attacks if row.purpose in ("curve", "check", "nearest")]
    if others:
        words = f"{len(others)} more: for the curve, the checks and the sizes"
        parts.append(folded(words, _each_alone("Other attacks", others)))
    return Section("attacks", "Attacks", join(*parts))


def _each_alone(caption: str, rows: list[AttackRow]) -> Element:
    """Attacks whose accuracy is their own, whatever others have turned before."""
    heads = [*HEADS[:2], Column("Accuracy under it"), *HEADS[3:]]
    return table(caption, heads, [_row(row, row.accuracy) for row in rows])


def _row(row: AttackRow, share: Share | None = None) -> list[Element | str]:
    more = parameters({"threat model": row.threat_model, **row.parameters})
    lost = [f"{row.not_finite:,} of its gradients were not finite, and counted as 0"] if row.not_finite else []
    said = [element("small", sentence) for sentence in (row.note, *lost, *row.warnings) if sentence]
    counts = [f"{count:,}" for count in (row.found, row.first)]
    costs = [f"{row.seconds:,.1f}", *(f"{count:,}" for count in (row.queries, row.gradient_calls))]
    return [
        element("details", element("summary", attack_text(row.name), *said), more),
        row.on,
        share_cell(share or row.standing),
        f"{row.attacked:,}" if row.attacked else "none left",
        *([*counts, *costs] if row.attacked else ["–"] * 5),
    ]


def transfer(report: Report) -> Section | None:
    """Adversarial images made on one row, judged by one column, as a heat map."""
    data = report.transfer
    if len(data.names) < 2 or not any(share is not None for row in data.fooled for share in row):
        return None
    text = "Made on the row, judged by the column. Rows: whatever the suite attacked and found some on. "
    text += (
        "Images of which an adversarial one was made on the row, and that the column had right: the share of which "
        "any fools the column."
        if data.counts == "images"
        else "The share of adversarial examples that fool the column, of those whose clean image it had right. They, "
        "and not images, are counted: an image that several attacks broke counts as often, so there are no intervals."
    )
    return Section("transfer", "Transfer", join(note(text), _heat_map(data)))


def _heat_map(data: Transfer) -> Element:
    head = element("tr", element("td", "made on ↓"), *(element("th", name, scope="col") for name in data.names))
    rows = [
        element("tr", element("th", name, scope="row"), *(_heat_cell(share, data.counts) for share in shares))
        for name, shares in zip(data.names, data.fooled, strict=True)
        if any(share is not None for share in shares)
    ]
    whole = element("table", element("thead", head), element("tbody", *rows), class_="heat")
    return element("div", whole, class_="scroll", role="region", aria_label="Transfer matrix", tabindex=0)


def _heat_cell(share: Share | None, counts: str) -> Element:
    if share is None:
        return element("td", "–", title="nothing was found to transfer")
    heat = f"h{round(10 * share.share)}"
    title = interval(share) if counts == "images" else None
    return element("td", percent(share.share), element("small", f"of {share.n:,} {counts}"), class_=heat, title=title)
