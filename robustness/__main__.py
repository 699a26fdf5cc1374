"""`python -m robustness`."""

from robustness.cli import main

main()
