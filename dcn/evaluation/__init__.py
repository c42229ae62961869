"""What regions and their classes are worth against ground truth (section 4)."""
