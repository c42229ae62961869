"""Mean tokens of regions against a loop over the pixels."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dcn.region_tokens import mean_tokens


@given(height=st.integers(1, 13), width=st.integers(1, 13), side=st.integers(1, 4), seed=st.integers(0, 99))
@settings(max_examples=40)
def test_every_pixel_brings_the_token_of_its_patch(height: int, width: int, side: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    tokens = rng.normal(size=(side * side, 3)).astype(np.float16)
    labels = rng.choice([0, 1, 3, 255], (height, width)).astype(np.uint8)
    sums, counts = np.zeros((4, 3)), np.zeros(4)
    for y in range(height):
        for x in range(width):
            if labels[y, x] < 4:
                sums[labels[y, x]] += tokens[int(y / height * side) * side + int(x / width * side)]
                counts[labels[y, x]] += 1
    expected = sums / np.maximum(counts, 1)[:, None]
    np.testing.assert_allclose(mean_tokens(tokens, labels, 4), expected, atol=1e-5)
    assert not mean_tokens(tokens, labels, 4)[2].any()  # no pixel has this label
