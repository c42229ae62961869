"""Classes from a language-image model (section 4.5)."""
