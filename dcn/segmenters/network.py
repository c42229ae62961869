"""The segmenter of the paper: the trained Dynamic Clustering Network (section 3.2)."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from dcn.segmenters.segmenter import Floats, Segmenter, Shared

# Images that are converted to float32 together. More of them do not fit into the processor's cache, and
# fresh memory from the operating system costs more than the arithmetic.
_CONVERTED = 2


class DCNSegmenter(Segmenter):
    """The Dynamic Clustering Network; ``train.num_prototypes`` limits the number of regions."""

    trained = True
    cosines = True
    published_miou = "47.1 ± 2.4"

    name: Literal["dcn"] = "dcn"

    def columns(self, num_prototypes: int) -> int:
        return num_prototypes

    def assign_batch(self, tokens: npt.NDArray[np.float16], shared: Shared, colors: Floats | None) -> Floats:
        import torch

        from dcn.modularity import cosine_assignment
        from dcn.network import image_centers

        network = shared.network
        assert network is not None
        device = network.prototypes.device
        with torch.inference_mode():
            stored = torch.from_numpy(tokens)  # [B, n, d] float16
            few = torch.split(stored, _CONVERTED)
            width = network.prototypes.shape[1]
            shape = (*stored.shape[:2], width)  # [B, n, p]
            context = torch.empty(shape, dtype=network.prototypes.dtype, device=device)
            for images, converted in zip(few, torch.split(context, _CONVERTED), strict=True):
                converted.copy_(network.project(images.to(device).float()))
            centers = image_centers(network, context)  # [B, k, p]
            # Whitened tokens are in the precision of the network; others were rounded to it for the context.
            exact = stored if network.whitening is None else context
            assignment = [
                cosine_assignment(images.to(device).float(), of_images)
                for images, of_images in zip(
                    torch.split(exact, _CONVERTED), torch.split(centers, _CONVERTED), strict=True
                )
            ]
            return np.concatenate([cosines.cpu().numpy() for cosines in assignment])  # [B, n, k]
