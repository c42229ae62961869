"""What is said of a class to a language model: its names, in sentences that a caption might be."""

from __future__ import annotations

# Other names of the classes of PASCAL VOC. MaskCLIP has one name each ("airplane" for aeroplane).
_SYNONYMS = {
    "aeroplane": ("airplane", "aeroplane"),
    "bicycle": ("bicycle", "bike"),
    "motorbike": ("motorbike", "motorcycle"),
    "person": ("person", "people"),
    "potted plant": ("potted plant", "houseplant"),
    "sofa": ("sofa", "couch"),
    "tv monitor": ("tv monitor", "television"),
}
# MaskCLIP has these beside the 80 of CLIP.
_SCENE_TEMPLATES = (
    "there is a {} in the scene.",
    "there is the {} in the scene.",
    "this is a {} in the scene.",
    "this is the {} in the scene.",
    "this is one {} in the scene.",
)


def class_names_of(name: str) -> tuple[str, ...]:
    """A class's name and its synonyms; those of a class that is not of PASCAL VOC are its name."""
    return _SYNONYMS.get(name, (name,))


def class_prompts(name: str) -> list[str]:
    """Each name of a class in each of MaskCLIP's 85 sentences, 80 of which are CLIP's for ImageNet."""
    from open_clip import OPENAI_IMAGENET_TEMPLATES

    templates = [*OPENAI_IMAGENET_TEMPLATES, *(template.format for template in _SCENE_TEMPLATES)]
    return [template(synonym) for synonym in class_names_of(name) for template in templates]
