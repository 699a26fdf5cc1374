"""The handler that everybody would write: what a served ensemble is compared with."""
