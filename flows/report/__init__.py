"""The page of a run: headline metrics, pictures, figures of the paper, templates."""
