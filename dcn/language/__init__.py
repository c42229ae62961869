"""Classification of pixels and regions by a language-image model (section 4.5)."""
