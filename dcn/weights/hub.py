"""The model hub: one short try, because its client repeats an attempt for a minute, once for each file."""

from __future__ import annotations

from pathlib import Path

# Seconds in which the hub has to answer.
_PATIENCE = 5.0


def require_hub(repository: str) -> None:
    """Check that the hub answers, unless files of the repository are in the cache of its client.

    Raises:
        ConnectionError: it does not answer, or the environment forbids to ask it.

    """
    from huggingface_hub import constants, get_session
    from huggingface_hub.file_download import repo_folder_name

    cached = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=repository, repo_type="model"))
    if (cached / "snapshots").is_dir():
        return
    try:
        get_session().head(constants.ENDPOINT, timeout=_PATIENCE)
    except Exception as error:  # its client has its own errors, and other ones in other versions
        raise ConnectionError(f"{constants.ENDPOINT} does not answer: {error}") from error
