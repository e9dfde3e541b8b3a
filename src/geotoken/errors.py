"""Every exception geotoken raises on purpose, and how those of others are quoted; imports nothing.

    GeoTokenError
    ├── InputError (also ValueError)   a value given by the caller cannot be used
    ├── ImageError                     a file cannot be read as a photo
    ├── ConfigError                    a configuration has an unknown or impossible entry
    ├── ArtifactError                  a model or gallery folder is missing, damaged or of another format
    └── DependencyError                an optional library is needed; the message names the extra

A message is one line: what was given, what is allowed, what to do now.
"""


class GeoTokenError(Exception):
    """Base of all errors raised by geotoken on purpose."""


class InputError(GeoTokenError, ValueError):
    """A value given by the caller cannot be used; the message names it and says what is allowed."""


class ImageError(GeoTokenError):
    """A file cannot be read as a photo."""


class ConfigError(GeoTokenError):
    """A configuration has an unknown or impossible entry."""


class ArtifactError(GeoTokenError):
    """A model or gallery folder is missing, damaged, tampered with, or of a newer format."""


class DependencyError(GeoTokenError):
    """An optional library is missing; the message names the extra that installs it."""


def reason_of(error: BaseException) -> str:
    """What an exception says, to be quoted in a message of one line.

    Args:
        error: Any exception, of any library.

    Returns:
        Its message on one line; its kind if it says nothing.
    """
    said = str(error).split("\n\nLINE ")[0]  # DuckDB quotes the query after that
    return " ".join(said.split()) or type(error).__name__
