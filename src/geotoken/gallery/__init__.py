"""Geotagged reference photos as vectors, and the nearest of them to a photo.

Owns the gallery folder, its search and its making; must not know what an answer is made of.

A gallery is evidence, and evidence leaks: the photo itself, another upload of it, or the next frame of the
same camera answers the question of where it was taken without saying anything about how well a place is
recognised. To locate a photo that is welcome. To measure, pass an `Exclusion` with the photo's owner and
hash, a near-duplicate similarity, and a distance where the question is about places never seen.
"""

from geotoken.gallery.build import BuildReport, Duplicate, add_photos, build_gallery
from geotoken.gallery.check import Recall, measure_recall
from geotoken.gallery.edit import EditReport, merge_galleries, reindex_gallery, remove_photos
from geotoken.gallery.index import Gallery
from geotoken.gallery.search import Exclusion, Neighbors
from geotoken.gallery.sources import BuildError
from geotoken.gallery.table import GalleryTable

__all__ = [
    "BuildError",
    "BuildReport",
    "Duplicate",
    "EditReport",
    "Exclusion",
    "Gallery",
    "GalleryTable",
    "Neighbors",
    "Recall",
    "add_photos",
    "build_gallery",
    "measure_recall",
    "merge_galleries",
    "reindex_gallery",
    "remove_photos",
]
