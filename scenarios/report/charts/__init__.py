"""The figures of a report, each as inline SVG, as a table and in words."""
