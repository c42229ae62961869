"""The protocols: one module each, and one line in the table."""

from typing import Any

from flows.evaluation.protocol import Protocol
from flows.evaluation.protocols.angles import Angles
from flows.evaluation.protocols.annotators import Annotators
from flows.evaluation.protocols.distilled import Distilled
from flows.evaluation.protocols.foreground import Foreground, ForegroundVariants
from flows.evaluation.protocols.kmeans import KMeans
from flows.evaluation.protocols.knn import KNN
from flows.evaluation.protocols.label_free import LabelFree
from flows.evaluation.protocols.language import Language
from flows.evaluation.protocols.modularity import Modularity
from flows.evaluation.protocols.region_measures import RegionMeasures
from flows.evaluation.protocols.true_regions import TrueRegions
from flows.evaluation.protocols.upper_bound import UpperBound

# The order of the sections in results.json.
PROTOCOLS: tuple[Protocol[Any], ...] = (
    Modularity(),
    LabelFree(),
    RegionMeasures(),
    Annotators(),
    KMeans(),
    Distilled(),
    UpperBound(),
    Foreground(),
    ForegroundVariants(),
    KNN(),
    Language(),
    Angles(),
    TrueRegions(),
)
