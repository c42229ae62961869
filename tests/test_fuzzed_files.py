"""Damaged files of every kind are read or refused with a sentence. `make soak` tries thousands of them."""

import contextlib
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.soak.strangers import inputs, readers

READERS = readers()


@pytest.mark.parametrize("name", READERS)
def test_good_examples_are_read(name: str, tmp_path: Path) -> None:
    """Otherwise the test below would prove nothing."""
    reader = READERS[name]
    masks = name.endswith("mask")
    for example in reader.examples:
        try:
            reader.read(example, tmp_path)
        except reader.allowed:
            assert masks, "a picture need not be a mask"


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_files_are_read_or_refused(name: str, tmp_path: Path, data: st.DataObject) -> None:
    content = data.draw(inputs(name, READERS[name]))
    began = time.monotonic()
    with contextlib.suppress(*READERS[name].allowed):
        READERS[name].read(content, tmp_path)
    assert time.monotonic() - began < 10
