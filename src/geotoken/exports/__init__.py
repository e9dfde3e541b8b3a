"""Many answers to files: CSV, GeoJSON, JSON, JSON lines, KML and Parquet, through interruptions.

Owns file formats, columns and the rules of resuming; must not know how a photo is located.
"""

from geotoken.exports.columns import COLUMNS
from geotoken.exports.formats import FORMATS
from geotoken.exports.journal import hash_settings
from geotoken.exports.run import Export, check_outputs

__all__ = ["COLUMNS", "FORMATS", "Export", "check_outputs", "hash_settings"]
