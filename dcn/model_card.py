"""The model card: the page that the Hugging Face Hub shows for a model."""

from __future__ import annotations

import json
from typing import Any

from dcn.model_description import ModelDescription

# Names of classes come from a person or a data set. As JSON in a block of code, no name can end the block.
TEMPLATE = """---
{{ card_data }}
---

# Dynamic Clustering Network

This model finds the regions of a photograph without labels. A frozen ViT, `{{ backbone }}`, computes a
token for each patch of the photograph, squashed to {{ input_size }} x {{ input_size }} pixels. The network
in this file turns its prototypes into the cluster centers of the photograph, and each patch belongs to the
nearest center. It finds at most {{ num_prototypes }} regions. Method: *Dynamic Clustering Network for
Unsupervised Semantic Segmentation* (Li et al., 2022; published later as ACSeg, CVPR 2023).

```python
import dcn

model = dcn.load("this folder, or its id on the hub")
result = model.segment("photo.jpg")
result.overlay().save("regions.png")
```

`model.safetensors` is the whole model: the weights of the network in half precision, the centers of the
classes, and in its header the description below. The weights of `{{ backbone }}` are not in it:
{{ weights }}.

## Classes
{% if classes %}
{%- if head %}
A head in this file gives every patch one of {{ head_clusters }} clusters or the background, from the same
forward pass. It learned the clusters from regions that had been clustered by their looks.
{%- else %}
A {% if foreground %}foreground {% endif %}region has the class of the nearest of {{ centers }} cluster
centers.
{%- endif %}
No label was used to find the clusters. The names of the classes come from the ground truth that the clusters
were matched to, or from names that were given to the clusters afterwards.

```json
{{ classes }}
```
{% else %}
This model knows no classes.
{% endif %}
## Description

```json
{{ description }}
```

## Limits

The model was trained on one collection of photographs, and finds what differs there. Regions are not
objects: one object may have several regions, and things that look alike share one. Look at results on your
own photographs before you rely on them.
"""


def card_values(description: ModelDescription) -> dict[str, Any]:
    """Choose the values of :data:`TEMPLATE` for a model."""
    backbone, classes = description.backbone, description.classes
    return {
        "backbone": backbone.name,
        "input_size": backbone.input_size,
        "num_prototypes": description.network.get("num_prototypes", 5),
        "weights": f"they come from the file `{backbone.weights}`"
        if backbone.weights
        else "they come from its package, or from the hub of timm",
        "classes": _json(classes.named.names) if classes else "",
        "foreground": description.regions is None or description.regions.background is None,
        "centers": len(classes.matched) - 1 if classes else 0,
        "head": description.head is not None,
        "head_clusters": len(description.head.matched) - 1 if description.head else 0,
        "description": _json(description.model_dump(mode="json", exclude_none=True)),
    }


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False)
