"""Attacks that are run against a victim, each behind the same protocol."""
