"""Load and latency over HTTP; imports none of the other packages."""
