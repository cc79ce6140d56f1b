"""What pushing to the Hub adds to what transformers does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel as _Model
    from transformers.utils import PushToHubMixin as _Base
else:
    from transformers.utils import PushToHubMixin as _Base

    _Model = _Base


class PushWithCode(_Base):
    """Base of our configurations and image processors: pushed files name the package that their code is in."""

    def _upload_modified_files(self, working_dir: Any, repo_id: str, *args: Any, **options: Any) -> Any:
        """What `push_to_hub` and `save_pretrained(push_to_hub=True)` end with."""
        from hfpose.hub.uploads import keep_branch_card

        write_code(Path(working_dir))
        keep_branch_card(Path(working_dir), repo_id, options.get("revision"), options.get("token"))
        return super()._upload_modified_files(working_dir, repo_id, *args, **options)

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "") -> None:
        """Nothing: the package holds the code, so no folder gets a copy of it."""


class PushWithCard(_Model):
    """Base of our models, before `PreTrainedModel`: a pushed model gets a card that says what it is and how to use it.

    The card is part of the model's own commit, so it goes to the branch or pull request that the model goes to.
    """

    def _upload_modified_files(self, working_dir: Any, repo_id: str, *args: Any, **options: Any) -> Any:
        """What `push_to_hub` and `save_pretrained(push_to_hub=True)` end with."""
        from hfpose.hub.uploads import keep_branch_card, write_card

        write_code(Path(working_dir))
        keep_branch_card(Path(working_dir), repo_id, options.get("revision"), options.get("token"))
        write_card(self, Path(working_dir), repo_id)
        return super()._upload_modified_files(working_dir, repo_id, *args, **options)


def write_code(folder: Path) -> None:
    """Write the files of `package_code` into the folder of a model or image processor."""
    from hfpose.hub.package_code import package_code

    for name, text in package_code(folder).items():
        (folder / name).write_text(text, encoding="utf-8")


def register_trainer_cards() -> None:
    """Make what transformers' `Trainer` pushes of our models carry our card, which tells of the training too."""
    from transformers.modelcard import TrainingSummary

    summary_class: Any = TrainingSummary
    summarize = summary_class.from_trainer.__func__

    def from_trainer(cls: type, trainer: Any, **details: Any) -> Any:
        summary = summarize(cls, trainer, **details)
        model = trainer.accelerator.unwrap_model(trainer.model)
        if isinstance(model, PushWithCard):
            from hfpose.hub.uploads import trained_card

            write_code(Path(trainer.args.output_dir))
            summary.to_model_card = lambda: trained_card(model, trainer.hub_model_id or summary.model_name, summary)
        return summary

    summary_class.from_trainer = classmethod(from_trainer)
