"""Answers as pictures: one map page that works offline, or a folder with a table and a page a photo.

Owns the pages and what they show; must not know command lines, or how an answer is found.
"""

from geotoken.pictures.outline import outline_json
from geotoken.pictures.page import MapPage, check_map_file
from geotoken.pictures.report import Report, check_report_folder
from geotoken.pictures.scene import scene

__all__ = ["MapPage", "Report", "check_map_file", "check_report_folder", "outline_json", "scene"]
