"""The same job in other serving systems, each in its own environment; see README.md."""
