"""The explorer: a page in the browser on which a dataset is seen, searched and decided about."""
