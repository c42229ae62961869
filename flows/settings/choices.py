"""Types of the settings that choose a data set, a segmenter or a clusterer, each with its own options.

pydantic needs the union of all entries of a table, and mypy needs one type, which is their base class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from dcn.clusterers import CLUSTERERS, Clusterer
from dcn.datasets import DATASETS, DatasetOptions
from dcn.segmenters import SEGMENTERS, Segmenter


class _FormWithChoices:
    """Makes the schema of a union a form with a tab for each entry, on all of Prefect's pages.

    pydantic writes ``oneOf``, which one of Prefect's two pages shows as raw JSON; both know ``anyOf``. A tab
    has the name of its entry. The pages open the first tab that knows most of the given options, so an entry
    comes after those that have a part of its options, and else keeps its place in the table.
    """

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core_schema)
        del schema["discriminator"]
        entries = schema.pop("oneOf")
        options: dict[str, set[str]] = {}
        for entry in entries:
            definition = handler.resolve_ref_schema(entry)
            definition["title"] = definition["properties"]["name"]["const"]
            # An entry without its name would fit several tabs.
            definition["required"] = sorted({"name", *definition.get("required", [])})
            options[entry["$ref"]] = set(definition["properties"])
        smaller = {ref: sum(other < own for other in options.values()) for ref, own in options.items()}
        return {"anyOf": sorted(entries, key=lambda entry: smaller[entry["$ref"]]), **schema}


if TYPE_CHECKING:
    AnyDataset = DatasetOptions
    AnySegmenter = Segmenter
    AnyClusterer = Clusterer
else:
    # The unions are built from tuples, which the other spelling of a union cannot be.
    AnyDataset = Annotated[Union[DATASETS], Field(discriminator="name"), _FormWithChoices()]  # noqa: UP007
    AnySegmenter = Annotated[Union[SEGMENTERS], Field(discriminator="name"), _FormWithChoices()]  # noqa: UP007
    AnyClusterer = Annotated[Union[CLUSTERERS], Field(discriminator="name"), _FormWithChoices()]  # noqa: UP007

CLUSTERERS_BY_NAME: dict[str, type[Clusterer]] = {
    entry.model_fields["name"].default: entry for entry in CLUSTERERS
}
SEGMENTERS_BY_NAME: dict[str, type[Segmenter]] = {
    entry.model_fields["name"].default: entry for entry in SEGMENTERS
}
SEGMENTER_NAMES: tuple[str, ...] = tuple(SEGMENTERS_BY_NAME)
# Those that need no options: a comparison runs them if nobody chooses others.
SEGMENTERS_WITH_DEFAULTS: tuple[str, ...] = tuple(
    name
    for name, entry in SEGMENTERS_BY_NAME.items()
    if not any(option.is_required() for option in entry.model_fields.values())
)
