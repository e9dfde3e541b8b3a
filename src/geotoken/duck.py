"""DuckDB for Parquet files: a session without extensions, and paths that it takes as they are.

Owns how DuckDB is set up; must not know any table.
"""

import re
from pathlib import Path
from typing import Any


def connect(**settings: Any) -> Any:
    """Open a session in memory that loads no extension.

    Columns of dtype object are text and not analysed: older releases need pandas to analyse them, and take a
    column of None for one of integers.

    Args:
        settings: Further settings of DuckDB, such as `threads`.

    Returns:
        A `duckdb.DuckDBPyConnection`.
    """
    import duckdb

    connection = duckdb.connect(
        config={"autoinstall_known_extensions": False, "autoload_known_extensions": False, **settings}
    )
    connection.execute("set pandas_analyze_sample = 0")
    return connection


def literal(path: Path) -> str:
    """A path that is meant as it is: `read_parquet` takes a pattern, so special characters are escaped.

    Args:
        path: A file.

    Returns:
        The pattern that fits this file alone.
    """
    return re.sub(r"([*?\[])", r"[\1]", str(path.resolve()))
