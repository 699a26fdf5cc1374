"""The commands of `empir load` that speak to servers, one a file."""
