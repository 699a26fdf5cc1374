"""`python -m robustness`."""

import robustness.claims.check_cli
import robustness.reporting.report_cli
from robustness.evaluation.evaluate_cli import main

__all__ = ["main", "robustness"]

main()
