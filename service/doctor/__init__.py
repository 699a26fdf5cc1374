"""Is this machine fit to serve: what is found, and what to do about it."""
