"""HTTP around runtime and robustness; no torch."""
