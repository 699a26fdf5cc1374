"""`python -m robustness`."""

import robustness.check_cli
import robustness.report_cli
from robustness.evaluate_cli import main

__all__ = ["main", "robustness"]

main()
