"""The figure of numbers of regions against numbers of true regions."""

import numpy as np

from dcn.figures.region_counts import region_counts_figure


def test_every_image_is_in_the_cell_of_its_numbers() -> None:
    regions = np.array([3, 3, 5, np.nan], np.float32)
    true_regions = np.array([2, 2.4, 4, np.nan], np.float32)
    axes = region_counts_figure(regions, true_regions).axes[0]
    shown = axes.images[0].get_array()
    assert shown is not None
    expected = np.zeros((6, 5))  # [regions, true regions]
    expected[3, 2], expected[5, 4] = 2, 1
    np.testing.assert_array_equal(shown, expected)
    assert {(text.get_text(), *text.get_position()) for text in axes.texts} == {("2", 2, 3), ("1", 4, 5)}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("true regions", "regions")
