"""Evaluations: the suites of attacks, run over many images, saved step by step and checked."""
