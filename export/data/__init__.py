"""Data sets: found or fetched, checked, decoded as serving does it, and split the same way every time."""
