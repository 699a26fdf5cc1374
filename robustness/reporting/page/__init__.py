"""The report as a page for people: one HTML file, without script and without network."""
