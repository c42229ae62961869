"""Text prompts for the classes: each name of a class in sentences that could be captions."""

from __future__ import annotations

from collections.abc import Sequence

# Synonyms of class names in PASCAL VOC. MaskCLIP has one name for each class ("airplane" for aeroplane).
_SYNONYMS = {
    "aeroplane": ("airplane", "aeroplane"),
    "bicycle": ("bicycle", "bike"),
    "motorbike": ("motorbike", "motorcycle"),
    "person": ("person", "people"),
    "potted plant": ("potted plant", "houseplant"),
    "sofa": ("sofa", "couch"),
    "tv monitor": ("tv monitor", "television"),
}
# MaskCLIP adds these templates to the 80 of CLIP.
_SCENE_TEMPLATES = (
    "there is a {} in the scene.",
    "there is the {} in the scene.",
    "this is a {} in the scene.",
    "this is the {} in the scene.",
    "this is one {} in the scene.",
)


def class_names_of(name: str) -> tuple[str, ...]:
    """Return the synonyms of a class, its name among them. Only classes of PASCAL VOC have several.

    Example:
        >>> class_names_of("sofa"), class_names_of("unicorn")
        (('sofa', 'couch'), ('unicorn',))

    """
    return _SYNONYMS.get(name, (name,))


def class_prompts(name: str) -> list[str]:
    """Put each name of a class into each of MaskCLIP's 85 templates, 80 of which are CLIP's for ImageNet."""
    from open_clip import OPENAI_IMAGENET_TEMPLATES

    templates = [*OPENAI_IMAGENET_TEMPLATES, *(template.format for template in _SCENE_TEMPLATES)]
    return [template(synonym) for synonym in class_names_of(name) for template in templates]


def short_prompts(names: Sequence[str]) -> list[str]:
    """Put the names of a thing into the seven templates that CLIP's authors chose of their 80.

    A vocabulary has up to a thousand things, and 85 sentences for each would take hours without a GPU.
    """
    from open_clip import SIMPLE_IMAGENET_TEMPLATES

    return [template(name) for name in names for template in SIMPLE_IMAGENET_TEMPLATES]
