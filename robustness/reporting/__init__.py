"""Reports: what an evaluation found, counted, put into tables and onto a page."""
