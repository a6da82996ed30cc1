"""Reports of a run: a page to keep and to print (`page`), and the same for a terminal (`terminal`)."""
