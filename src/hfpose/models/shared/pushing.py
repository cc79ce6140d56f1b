"""What pushing a model to the Hub adds to what transformers does."""

from __future__ import annotations

from typing import Any


class PushWithCard:
    """Base of our models, before `PreTrainedModel`: a pushed model gets a card that says what it is and how to use it."""

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """As in transformers. A repository without a card gets one, generated from the model's configuration."""
        if not options.get("create_pr"):  # whoever proposes a change may not write to the repository
            from hfpose.publishing.uploads import push_card

            repo_id = push_card(self, repo_id, token=options.get("token"), private=options.get("private"))  # type: ignore[arg-type]
        return super().push_to_hub(repo_id, **options)  # type: ignore[misc]
