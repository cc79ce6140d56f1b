"""What pushing a model to the Hub adds to what transformers does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel as _Model
else:
    from transformers.utils import PushToHubMixin as _Model


class PushWithCard(_Model):
    """Base of our models, before `PreTrainedModel`: a pushed model gets a card that says what it is and how to use it.

    The card is part of the model's own commit, so it goes to the branch or pull request that the model goes to.
    """

    def _upload_modified_files(self, working_dir: Any, repo_id: str, *args: Any, **options: Any) -> Any:
        """What `push_to_hub` and `save_pretrained(push_to_hub=True)` end with."""
        from hfpose.hub.uploads import write_card

        write_card(self, Path(working_dir), repo_id)
        return super()._upload_modified_files(working_dir, repo_id, *args, **options)
