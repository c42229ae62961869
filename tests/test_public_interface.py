"""What the packages export can be imported, is documented, and costs nothing until it is used."""

import subprocess
import sys
from importlib import import_module

import pytest

PACKAGES = ("dcn", "storage", "flows")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_exported_name_exists_and_has_a_docstring(package: str) -> None:
    module = import_module(package)
    assert list(module.__all__) == sorted(
        module.__all__, key=lambda name: (not name.isupper(), name[0].islower(), name)
    )
    for name in module.__all__:
        exported = getattr(module, name)
        assert name.isupper() or exported.__doc__, f"{package}.{name} has no docstring"


@pytest.mark.parametrize("package", PACKAGES)
def test_an_unknown_name_is_an_attribute_error(package: str) -> None:
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        getattr(import_module(package), "nothing_of_this_name")  # noqa: B009 - the access is the test


@pytest.mark.parametrize("package", ["dcn", "flows"])
def test_importing_a_package_imports_nothing_heavy(package: str) -> None:
    code = (
        f"import sys, {package}\n"
        "heavy = {'torch', 'prefect', 'zarr', 'sklearn', 'matplotlib', 'numba', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        f"assert not {set(PACKAGES) - {package}} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
