"""Sections about who withstands what: members and the vote, classes, sizes of perturbations, the gallery."""

from robustness.reporting.page.charts import size_chart
from robustness.reporting.page.markup import Content, Element, element, join
from robustness.reporting.page.parts import (
    NORM_NAMES,
    Column,
    Section,
    attack_text,
    ball_text,
    columns,
    folded,
    note,
    share_cell,
    table,
)
from robustness.reporting.report import VOTE, MemberRow, Picture, Report, Sizes
from robustness.reporting.sizes import fallen_sizes

SMALL = 96
"""Images not wider than this are shown with their pixels as squares."""
WAYS = (("original", "before"), ("perturbation", "change"), ("adversarial", "after"))


def members(report: Report) -> Section:
    """The vote and every member, clean and in the worst case; what the ensemble gains over its best member."""
    heads = columns("|Worst case|Clean|Attacked alone|Precision|Gradient of 0")
    rows: list[list[Content]] = [[VOTE, share_cell(report.robust), share_cell(report.clean), "", "", ""]]
    for row in report.members:
        shares = (share_cell(row.robust), share_cell(row.clean), share_cell(row.own))
        rows.append([row.name, *shares, str(row.precision), _zero(row)])
    text = "Worst case of a member: every adversarial image of the report, whatever made it. Alone: those "
    text += "that the suite made on it, where it attacks it at all; a member that it did not may withstand less."
    sentences = [element("li", each.sentence) for each in report.comparisons]
    compared = element("ul", *sentences, class_="findings") if sentences else None
    return Section(
        "members", "Members", join(compared, table("Members", heads, rows, strong=0), note(text), _fallen(report))
    )


def _zero(row: MemberRow) -> str:
    return "no graph" if row.zero_gradients is None else f"{row.zero_gradients.count} of {row.zero_gradients.n}"


def _fallen(report: Report) -> Element | None:
    rows: list[list[Content]] = [
        [member.name, attack_text(attack), f"{count:,}"]
        for member in report.members
        for attack, count in member.broken_by.items()
    ]
    if not rows:
        return None
    heads = columns("Member|Fell first to", "Images")
    return folded("Which attack broke each member first", table("Which attack broke each member", heads, rows))


def classes(report: Report) -> Section:
    """The images of each class, and what they become."""
    rows: list[list[Content]] = [
        [row.label, share_cell(row.robust), share_cell(row.clean), f"{row.robust.n}", _becomes(row.becomes)]
        for row in report.classes
    ]
    heads = [*columns("Class|Worst case|Clean", "n"), Column("Adversarial images become", wraps=True)]
    return Section("classes", "Classes", table("Classes", heads, rows))


def _becomes(verdicts: dict[str, int]) -> Element | str:
    most = sorted(verdicts.items(), key=lambda each: -each[1])[:5]
    return join(*(element("span", f"{label} ", element("small", f"×{n}"), class_="chip") for label, n in most))


def sizes(report: Report) -> Section | None:
    """How large the smallest perturbations are of the images that fell."""
    data = report.sizes
    if data.n == 0:
        return None
    broken, n = fallen_sizes(report, data.among), data.among or report.images.n
    name = NORM_NAMES.get(report.norm, report.norm)
    chart = size_chart(data.edges, data.counts, broken, n, f"size of the perturbation, {name}")
    quantiles = [f"{100 * float(key):.0f}% of them at {value:.4g}" for key, value in data.quantiles.items()]
    text = f"{_among(data)}: {', '.join(quantiles)} or less. Bars: images, counted on the right. Line: share of the "
    text += f"{n} that have fallen, on the left. {_searched(data)}"
    if report.claims:
        text += " Towards images that were entered as a claim only the line was searched."
    return Section("sizes", "Smallest perturbations found", join(chart, note(text)), half=True)


def _among(data: Sizes) -> str:
    if data.among is None:
        return f"Of {data.n} images that fell"
    return f"Of the first {data.among} images, attacked anew at every eps of the curve, {data.n} fell"


def _searched(data: Sizes) -> str:
    """How the sizes were found, and what they are not."""
    if data.searched:
        how = "For each of them eps was bisected, with an attack on the vote at every step (the attack nearest)"
    elif data.among is not None:
        how = "Below the smallest such eps at which an image fell its size is where the verdict falls on the line to "
        how += "the image found; the other images were not attacked at smaller eps, and do not count here"
    else:
        how = "A size is where the verdict falls on the line to the image found; nothing was attacked at a smaller eps"
    return f"{how}. These are upper bounds: smaller perturbations may exist."


def gallery(report: Report) -> Section | None:
    """Images before, the change magnified, and after, with their labels."""
    if not report.gallery:
        return None
    small = report.bundle.image_shape[2] <= SMALL
    figures = [_triple(picture, report.norm) for picture in report.gallery]
    but = " (not of claims)" if report.claims else ""
    which = (
        f"The nearest adversarial image known of each, after a search at smaller and smaller eps{but}"
        if report.sizes.searched
        else "Of each the nearest adversarial image that an attack gave; smaller changes were not searched for"
    )
    text = f"{which}, within {ball_text(report.norm, report.eps)}. In the middle grey is no change; the largest change "
    text += "is black or white."
    return Section(
        "gallery",
        "Gallery",
        join(note(text), element("div", *figures, class_="gallery pixels" if small else "gallery")),
    )


def _triple(picture: Picture, norm: str) -> Element:
    described = {
        "before": f"Test image {picture.index}, labelled {picture.label}.",
        "change": "The change, magnified.",
        "after": f"The same image changed; the verdict is {picture.verdict}.",
    }
    images = [
        element("img", src=f"data:image/png;base64,{getattr(picture, field)}", alt=described[way])
        for field, way in WAYS
    ]
    labels = element("p", element("b", picture.label), " → ", element("b", picture.verdict, class_="fallen"))
    size = f"{NORM_NAMES.get(norm, norm)} {picture.size:.3g}, {attack_text(picture.attack)}, no. {picture.index}"
    caption = element("figcaption", labels, element("small", size))
    return element("figure", element("div", *images, class_="triple"), caption)
