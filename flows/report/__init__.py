"""The page of a run: pictures, figures, templates."""
