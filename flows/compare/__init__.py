"""Several settings side by side on one feature cache."""
