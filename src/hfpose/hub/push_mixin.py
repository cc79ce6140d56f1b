"""What pushing a model to the Hub adds to what transformers does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel as _Model
else:
    from transformers.utils import PushToHubMixin as _Model


class PushWithCard(_Model):
    """Base of our models, before `PreTrainedModel`: a pushed model gets a card that says what it is and how to use it."""

    # transformers wraps this method in an object that type checkers do not take for one.
    def push_to_hub(self, repo_id: str, *args: Any, **options: Any) -> Any:  # type: ignore[override]
        """As `PreTrainedModel.push_to_hub`. A repository without a card gets one, made from the configuration."""
        if not options.get("create_pr"):  # whoever proposes a change may not write to the repository
            from hfpose.hub.uploads import push_card

            repo_id = push_card(self, repo_id, token=options.get("token"), private=options.get("private"))
        return super().push_to_hub(repo_id, *args, **options)  # type: ignore[arg-type]
