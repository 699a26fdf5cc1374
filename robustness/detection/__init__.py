"""The detector under attack."""
