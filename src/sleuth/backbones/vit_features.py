"""A vision Transformer as the backbone of a detector: the patches of its last block as one feature map."""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from sleuth.backbones.vit import VitBackbone
from sleuth.types.batches import ImageBatch


class VitFeatures(nn.Module):
    """A cell for each patch; the class token and registers go along within, and are not handed on.

    Pictures may have any size of at least one patch. A side that is no multiple of the patch is padded with zeros at
    the bottom or right; padding is hidden from the blocks, and a cell that holds any of the picture takes part.

    Args:
        body: from pictures to states of patches.

    Attributes:
        channels: channels of the feature map.
        stride: pixels of the picture for one cell.

    Source: Fang et al. 2021, "You Only Look at One Sequence", and Li et al. 2022, "ViTDet", section 3 (the last map
    of a plain backbone is enough).
    """

    def __init__(self, body: VitBackbone) -> None:
        super().__init__()
        self.body = body
        self.channels = body.dim
        self.stride = body.patch_size

    def forward(self, images: ImageBatch) -> Float[Tensor, "batch channels h w"]:
        """The states of the patches where they lie in the picture.

        Raises:
            UserError: a picture is smaller than a patch.
        """
        memory = self.body(images)
        return memory.patches.transpose(1, 2).unflatten(2, memory.grid_hw)

    def features(
        self, images: ImageBatch, finer: list[Tensor] | None = None
    ) -> tuple[Float[Tensor, "batch channels h w"], Bool[Tensor, "batch h w"]]:
        """The feature map, and which of its cells hold any of the picture.

        Args:
            images: the pictures.
            finer: as of `ResNet.features`; a plain vision Transformer has no finer maps, so it stays as it is.

        Raises:
            UserError: a picture is smaller than a patch.
        """
        # Padding lies at the bottom and right: a patch holds some of the picture if its first pixel does.
        return self(images), images.valid[:, :: self.stride, :: self.stride]
