"""The tables of settings in the docs, and what they should say."""

import ast
import dataclasses
import inspect
import itertools


def table_of(page, section):
    """Rows of the table of a section, as the page has them."""
    return page.split(f"\n`[{section}]`: ")[1].split("\n\n")[1].splitlines()[2:]


def fields_of(kind):
    """Rows for the fields of a dataclass: name, default, docstring."""
    body = ast.parse(inspect.getsource(kind)).body[0].body
    meanings = {
        field.target.id: " ".join(text.value.value.split())
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)
    }
    words = {"None": "none", "True": "true", "False": "false", "()": "none"}
    return [
        f"| `{field.name}` | {words.get(str(field.default), str(field.default).strip('()'))} | "
        f"{meanings[field.name]} |"
        for field in dataclasses.fields(kind)
    ]
