"""Keys of artifacts. Prefect allows lower-case letters, digits and dashes in them."""

from __future__ import annotations


def artifact_key(stage: str, *what: str) -> str:
    """Make the key of an artifact of a stage.

    >>> artifact_key("embed_truth"), artifact_key("embed_truth", "progress")
    ('embed-truth', 'embed-truth-progress')
    """
    return "-".join((stage, *what)).replace("_", "-")
