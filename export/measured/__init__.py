"""What export measures of an ensemble on the machine it runs on, for the bundle's report."""
