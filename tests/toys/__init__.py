"""What somebody would add, as small as it can be: tests/test_seams.py takes each of it through the product."""
