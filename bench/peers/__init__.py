"""The same booking on other foundations, for comparison; nothing of the product depends on them."""
