"""Upload an exported folder to the Hugging Face Hub."""

from __future__ import annotations

import os

from sdg_helpers.errors import SdgError
from sdg_helpers.stages import Stage


def push_to_hub(export: Stage, repo: str, *, private: bool = True, token_env: str = "HF_TOKEN") -> str:
    """Upload the data files and the card of a complete export to the dataset repo "owner/name"; return its URL.

    The repo is created if it does not exist. The token is read from the environment variable `token_env` only.
    Raises SdgError when the export is not complete, the token is missing or the upload fails.
    """
    outputs = export.require()["outputs"]
    token = os.environ.get(token_env)
    if not token:
        raise SdgError(
            f"push to {repo}: the environment variable {token_env} is not set. Put a write token of the hub into it "
            "where the notebook server or `sdg` is started; the token is not written anywhere."
        )
    from huggingface_hub import HfApi

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=token)
    try:
        api.create_repo(repo, repo_type="dataset", private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo,
            repo_type="dataset",
            folder_path=export.folder,
            allow_patterns=list(outputs),
            commit_message="Add the exported data",
        )
    except (OSError, ValueError) as error:  # the hub's errors are OSErrors, a bad repo name is a ValueError
        reason = " ".join(str(error).split())[:300].replace(token, "…")
        raise SdgError(
            f"push to {repo}: the upload failed ({type(error).__name__}: {reason}). Check the repo's name and the "
            "token's permissions, then push again: files that were uploaded are not sent again."
        ) from error
    return commit.repo_url.url if hasattr(commit.repo_url, "url") else str(commit.repo_url)
