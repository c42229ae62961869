"""Names that were given to clusters, and the classes that follow from them.

A file ``names.yaml`` has one line for each cluster that has a name::

    1: cat
    2: tree
    5: cat          # clusters 1 and 5 become one class
    7: background   # cluster 7 becomes background

The numbers are those of the label maps that :func:`NamedClasses.of_clusters` is going to translate.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
from pydantic import model_validator
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

from dcn.errors import InvalidClassNamesError
from dcn.images.files import read_file
from dcn.options import Options
from dcn.text_files import decode_text, is_printable
from dcn.yaml_nodes import compose_yaml

BACKGROUND = "background"
# A label map has 8 bits for a class.
_MOST_CLUSTERS = 256


class NamedClasses(Options):
    """The classes after the clusters have been named. JSON.

    Attributes:
        names: ``[C]`` name of each class; the first is the background.
        class_of_cluster: ``[K + 1]`` class of each cluster; cluster 0 is background, class 0.

    Example:
        >>> classes = name_classes(cluster_names(3), {1: "cat", 2: "background", 3: "cat"})
        >>> classes.names, classes.class_of_cluster
        (('background', 'cat'), (0, 1, 0, 1))

    """

    names: tuple[str, ...]
    class_of_cluster: tuple[int, ...]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.class_of_cluster) > _MOST_CLUSTERS:
            raise ValueError(f"there are more than {_MOST_CLUSTERS} clusters")
        if set(self.class_of_cluster) != set(range(len(self.names))) or self.class_of_cluster[0] != 0:
            raise ValueError("every class must have a cluster, every cluster a class, and cluster 0 class 0")
        return self

    def of_clusters(self, clusters: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
        """Translate clusters of any shape, such as a label map ``[H, W]``, to classes of the same shape."""
        table = np.array(self.class_of_cluster, dtype=np.uint8)  # [K + 1]
        classes: npt.NDArray[np.uint8] = table[clusters]
        return classes

    def colors(self, palette: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Select the color of each class, ``[C, 3]`` uint8 RGB.

        A class keeps the color of its first cluster, so pictures before and after the naming are alike.

        Args:
            palette: ``[256, 3]`` uint8, the color of each cluster.

        """
        first = [self.class_of_cluster.index(number) for number in range(len(self.names))]
        return palette[first]

    def cluster_palette(self, palette: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Give each cluster the color of its class.

        Args:
            palette: ``[256, 3]`` uint8, the color of each cluster before the naming.

        Returns:
            ``[256, 3]`` uint8.

        """
        joined = palette.copy()
        joined[: len(self.class_of_cluster)] = self.colors(palette)[list(self.class_of_cluster)]
        return joined

    def listing(self, palette: npt.NDArray[np.uint8]) -> list[dict[str, int | str]]:
        """List ``index``, ``name`` and ``color`` (``#rrggbb``) of every class, as JSON.

        Args:
            palette: ``[256, 3]`` uint8, the color of each cluster.

        """
        colors = self.colors(palette)
        return [
            {"index": index, "name": name, "color": f"#{colors[index].tobytes().hex()}"}
            for index, name in enumerate(self.names)
        ]


def cluster_names(count: int) -> tuple[str, ...]:
    """Name ``count`` clusters that nobody has named: ``background``, ``cluster 1``, ``cluster 2``, ..."""
    return (BACKGROUND, *(f"cluster {number}" for number in range(1, count + 1)))


def name_classes(own_names: Sequence[str], names: Mapping[int, str]) -> NamedClasses:
    """Make classes of clusters: clusters with the same name are one class.

    Args:
        own_names: ``[K + 1]`` name of each cluster that gets no other one: :func:`cluster_names`, or the
            classes of a data set. The first is the background.
        names: name by cluster, as :func:`read_names` returns them. A cluster that has the name of the
            background, or ``background`` in any case, becomes background.

    Raises:
        InvalidClassNamesError: there is no such cluster, or cluster 0 has another name than the background.

    """
    unknown = sorted(set(names) - set(range(len(own_names))))
    if unknown:
        raise InvalidClassNamesError(
            f"there is no cluster {', '.join(map(str, unknown))}: the clusters are 1 to "
            f"{len(own_names) - 1}; remove that line, or name the clusters of this run",
            parameter="names",
        )
    background = {BACKGROUND, own_names[0].casefold()}
    if names.get(0, BACKGROUND).casefold() not in background:
        raise InvalidClassNamesError(
            f"cluster 0 is the background and cannot be named {names[0]!r}; remove that line",
            parameter="names",
        )
    index = {own_names[0]: 0}
    class_of_cluster = [0]
    for cluster, own_name in enumerate(own_names[1:], start=1):
        name = names.get(cluster, own_name)
        is_background = name.casefold() in background
        class_of_cluster.append(0 if is_background else index.setdefault(name, len(index)))
    return NamedClasses(names=tuple(index), class_of_cluster=tuple(class_of_cluster))


def read_names(path: Path) -> dict[int, str]:
    """Read the file ``names.yaml``: the name of each cluster that a person named.

    A name is the text as it is written, so ``3: no`` and ``3: 2024`` are names too. JSON is YAML. A file
    without any line is valid.

    Args:
        path: a YAML file, whose keys are numbers of clusters and whose values are names.

    Raises:
        InvalidClassNamesError: the file cannot be read, or a line is wrong. The message has the file, the
            line and what to write.

    """
    try:
        # Nodes, not values: a name stays as it is written, and repeated numbers and lines are known.
        root = compose_yaml(decode_text(read_file(path)))
    except OSError as error:
        raise InvalidClassNamesError(f"{path} cannot be read: {error.strerror}", parameter="names") from error
    except ValueError as error:
        raise _wrong(f"{path} is not readable YAML: {error}") from error
    if root is None:
        return {}
    if not isinstance(root, MappingNode):
        raise _wrong(f"{path} does not name clusters")
    names: dict[int, str] = {}
    for key, value in root.value:
        place = f"{path}, line {key.start_mark.line + 1}"
        cluster = _cluster(place, key)
        if cluster in names:
            raise InvalidClassNamesError(
                f"{place}: cluster {cluster} has the name {names[cluster]!r} already; remove one line",
                parameter="names",
            )
        names[cluster] = _name(place, value)
    return names


def _cluster(place: str, node: Node) -> int:
    text = str(node.value) if isinstance(node, ScalarNode) else ""
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(_MOST_CLUSTERS))):
        raise _wrong(f"{place}: {text[:50]!r} is no number of a cluster")
    return int(text)


def _name(place: str, node: Node) -> str:
    text = str(node.value) if isinstance(node, ScalarNode) else ""
    # JSON may write a character in two halves, which YAML leaves apart.
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    text = unicodedata.normalize("NFC", text).strip()
    if not text or str(node.tag) == "tag:yaml.org,2002:null":
        raise _wrong(f"{place}: the name is not text")
    if not is_printable(text):
        raise _wrong(f"{place}: the name {text!r} has characters that cannot be printed")
    return text


def _wrong(problem: str) -> InvalidClassNamesError:
    return InvalidClassNamesError(f"{problem}; write lines such as '3: cat'", parameter="names")
