"""Colors that everybody can tell apart, and pictures of label maps."""

from itertools import combinations

import numpy as np
from skimage.color import rgb2lab

from dcn.datasets.voc2012 import VOC2012Dataset
from dcn.images.palette import category_palette, class_palette, region_palette

# Viénot, Brettel and Mollon (1999) for red and green blindness, on linear RGB; not what chose the colors.
RED_BLIND = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]])
GREEN_BLIND = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])


def linear(colors: np.ndarray) -> np.ndarray:
    shares = colors / 255
    return np.asarray(np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4))


def seen(colors: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """CIELAB of colors as somebody with this color vision sees them."""
    light = np.clip(linear(colors) @ matrix.T, 0, 1)
    return np.asarray(
        rgb2lab(np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055))
    )


def nearest(colors: np.ndarray) -> float:
    """Smallest distance of two colors, for the eyes that see the least difference."""
    views = [seen(colors, matrix) for matrix in (np.eye(3), RED_BLIND, GREEN_BLIND)]
    return min(
        float(np.linalg.norm(lab[a] - lab[b])) for lab in views for a, b in combinations(range(len(lab)), 2)
    )


def test_colors_differ_for_all_eyes() -> None:
    """A distance of 2.3 in CIELAB is just noticeable."""
    assert nearest(region_palette()[:7]) > 11
    assert nearest(region_palette()[:12]) > 9
    assert nearest(region_palette()[:24]) > 4
    assert nearest(class_palette()[1:8]) < nearest(region_palette()[:7]), "what VOC's palette does worse"


def test_colors_are_seen_on_light_and_on_dark_ground() -> None:
    luminance = linear(region_palette()[:24]) @ (0.2126, 0.7152, 0.0722)
    assert (1.05 / (luminance + 0.05) > 1.2).all()
    assert ((luminance + 0.05) / 0.055 > 1.8).all()  # 0.055: #0d1117, the dark page


def test_a_class_has_the_color_of_the_region_before_it() -> None:
    palette = category_palette(ignore_label=200)
    assert palette.shape == region_palette().shape == (256, 3)
    assert len(np.unique(region_palette(), axis=0)) == 256
    assert palette[0].tolist() == [0, 0, 0]
    np.testing.assert_array_equal(palette[1:200], region_palette()[:199])
    assert palette[200].tolist() == class_palette(200)[200].tolist()


def test_vocs_palette_is_for_voc_only() -> None:
    dataset = VOC2012Dataset.__new__(VOC2012Dataset)  # its palette needs no files
    np.testing.assert_array_equal(dataset.palette, class_palette())
