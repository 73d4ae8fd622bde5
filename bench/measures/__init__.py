"""One module per question; each gives its rows of the report."""
