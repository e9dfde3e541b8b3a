"""What geotoken is compared with: other ways from a photo's feature vector to a place.

Owns plain forms of published methods, all on the same features and splits; must not know the worlds.
"""

from baselines.cell_classes import FlatCells, HierarchicalCells
from baselines.fitting import Answers, Baseline, Budget, Labelled
from baselines.gps_gallery import GpsGallery
from baselines.nearest import NearestNeighbor
from baselines.regression import Regression

__all__ = [
    "Answers",
    "Baseline",
    "Budget",
    "FlatCells",
    "GpsGallery",
    "HierarchicalCells",
    "Labelled",
    "NearestNeighbor",
    "Regression",
]
