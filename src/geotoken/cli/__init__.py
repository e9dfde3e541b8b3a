"""The command line: one file a command; each parses, calls the library and prints.

Owns flags, words and exit codes; must not decide anything about places. Nothing heavy is imported before a
command runs, so that `geotoken --help` answers at once.
"""

from geotoken.cli.program import app, main

__all__ = ["app", "main"]
