"""Measures of regions and classes against ground truth."""
