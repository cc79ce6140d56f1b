"""Models that compute no loss."""

from hfpose.errors import ConfigError
from hfpose.models.shared.image_model import ImageModel


class Untrainable(ImageModel):
    """Base of models without a loss: transformers' `Trainer` refuses them when it is made, not at its first step."""

    @property
    def accepts_loss_kwargs(self) -> bool:  # type: ignore[override]
        """What `Trainer` asks of a model first.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"{type(self).__name__} computes no loss, so it cannot be trained, only used.")
