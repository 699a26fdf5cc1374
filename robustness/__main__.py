"""`python -m robustness`."""

from robustness.evaluate_cli import main

main()
