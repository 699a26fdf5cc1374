"""A bundle's report as it is served: read, checked and drawn when the bundle is loaded."""

from dataclasses import dataclass
from pathlib import Path

from robustness.reporting.attached import attached_report
from robustness.reporting.report_html import content_security_policy, page
from runtime.manifest import Manifest


@dataclass(frozen=True)
class BundleReport:
    """The bytes of a report.json, the page drawn from it, and what a browser may load for the page."""

    document: bytes
    page: bytes
    policy: str

    @classmethod
    def load(cls, folder: Path, manifest: Manifest) -> "BundleReport | None":
        """The report that the manifest names; None if it names none. Raises BundleError if it is not this bundle's.

        The page is drawn here, not read from report.html: what a browser is sent from this server's address is
        nobody else's HTML.
        """
        attached = attached_report(folder, manifest)
        if attached is None:
            return None
        policy = f"{content_security_policy()}; frame-ancestors 'none'"
        return cls(attached.data, page(attached.report).encode(), policy)
