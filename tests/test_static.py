"""What the source promises without running: who imports whom, and mathematics in array API operations alone."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import array_api_strict
import pytest

import xpnn

ROOT = Path(xpnn.__file__).parent
FILES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in ROOT.rglob("*.py")}
TREES = {name: ast.parse(path.read_text()) for name, path in FILES.items()}
LIBRARIES = {"numpy", "cupy", "torch", "jax", "scipy", "array_api_compat", "array_api_strict"}


# The mathematics, and what of the package it may see: the checks of arguments, erf and the host's initial values.
def family(name):
    """A module, or every file of a folder."""
    return {file for file in FILES if file == name or file.startswith(f"{name}.")}


FAMILIES = ("activations", "layers", "losses", "metrics", "optimizers")
FOLDERS = (*FAMILIES, "callbacks", "exchange", "plotting")
MATHEMATICS = set().union(*map(family, FAMILIES)) | {"parameters", "random", "schedules"}
HELPERS = {"_arguments", "_lazy", "special", "initializers"}

# Who may name NumPy: what runs on the host. Everybody else sees arrays and `xp`.
HOST = {
    "backend",
    "special",
    "initializers",
    "batches",
    "datasets",
    "inputs",
    "history",
    "program",
    "progress",
    "numbers",
    "chosen",
    "epochs",
    "groups",
    "lanes",
    "members",
    "jobs",
    "sources",
    "training",
    "state",
    "network",
    "files",
    "description",
    "snapshot",
    "transfer",
    "resume",
    "shortage",
}
HOST |= {"walk", "walkthrough", "findings", "signals", "rates", "checkup"}
HOST |= {"testing", "__main__"} | family("plotting") | family("sklearn") | family("compile") | family("exchange")

# Arrows go one way: a module imports only from the rows above its own (and its own).
ORDER = [
    {"_version", "_arguments", "_lazy", "special", "initializers", "random", "parameters", "datasets", "history"}
    | {"threads", "own", "files", "description"},
    family("layers") | family("callbacks"),
    family("activations") | {"schedules"},
    family("losses") | family("optimizers") | {"architecture"},
    family("metrics") | {"availability", "summary", "display"},
    {"backend"},
    family("plotting"),
    {"inputs"},
    {"transfer"},
    {"batches"},
    {"chosen", "evaluation", "progress"},
    {"program", "snapshot"},
    {"numbers"},
    family("compile"),
    {"testing"},
    {"sources"},
    {"epochs"},
    {"diagnosis", "groups", "spread", "resume"},
    {"training", "state", "lanes", "shortage"},
    {"formulas", "walk", "findings"},
    {"walkthrough", "signals", "rates"},
    {"checkup"},
    {"insight"},
    {"network"},
    {"jobs", "checkpoint"} | family("exchange"),
    {"members"},
    family("sklearn"),
    {"__init__", "__main__"},
]


def imports(name, *, lazily=True):
    """The top modules that a file imports, of the package as "xpnn.<module>"; `lazily=False` leaves out functions'."""
    tree = TREES[name]
    inside = {id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for n in ast.walk(f)}
    for node in ast.walk(tree):
        if not lazily and id(node) in inside:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "xpnn":
            yield from (f"xpnn.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def package_imports(name, **options):
    found = {module.removeprefix("xpnn.") for module in imports(name, **options) if module.startswith("xpnn.")}
    folders = (*FOLDERS, "compile", "sklearn")
    return {module + ".__init__" if module in folders else module for module in found} - {"__version__"}


def test_every_module_has_its_place():
    assert set().union(*ORDER) == set(FILES)


@pytest.mark.parametrize("name", sorted(FILES))
def test_imports_go_one_way(name):
    if name == "__init__":
        return
    place = next(i for i, row in enumerate(ORDER) if name in row)
    allowed = set().union(*ORDER[: place + 1])
    upward = {"history": {"display", "plotting.__init__"}, "backend": {"shortage"}}.get(
        name, set()
    )  # within a function, when called
    assert package_imports(name, lazily=False) <= allowed
    assert package_imports(name) <= allowed | upward


@pytest.mark.parametrize("name", sorted(MATHEMATICS))
def test_the_mathematics_imports_no_array_library(name):
    assert not {module.partition(".")[0] for module in imports(name)} & LIBRARIES
    assert package_imports(name) <= MATHEMATICS | HELPERS


@pytest.mark.parametrize("name", sorted(set(FILES) - HOST - MATHEMATICS))
def test_only_what_runs_on_the_host_names_numpy(name):
    assert "numpy" not in set(imports(name))


METHODS = {"mean", "sum", "max", "min", "astype", "reshape", "transpose", "dot", "any", "all", "item"}


@pytest.mark.parametrize("name", sorted(MATHEMATICS))
def test_the_mathematics_calls_no_method_of_an_array(name):
    for node in ast.walk(TREES[name]):
        assert not (isinstance(node, ast.Attribute) and node.attr in ("T", "mT")), f"{name}:{node.lineno}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
            owner = node.func.value
            assert isinstance(owner, ast.Name) and owner.id == "xp", f"{name}:{node.lineno} .{node.func.attr}"


def calls():
    """Every `xp.function(keyword=...)` of the package, once."""
    found = set()
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            owner = node.func.value
            through_xp = (isinstance(owner, ast.Name) and owner.id == "xp") or (
                isinstance(owner, ast.Attribute) and owner.attr == "xp"
            )
            if through_xp and name != "backend":
                found.add((node.func.attr, tuple(sorted(k.arg for k in node.keywords if k.arg))))
    return sorted(found)


def test_nothing_calls_clip():
    """On CuPy array_api_compat's clip selects by a boolean mask, which waits for the device."""
    assert "clip" not in {function for function, _ in calls()}


def test_calls_are_found():
    assert ("sum", ("axis", "keepdims")) in calls()
    assert len(calls()) > 30


@pytest.mark.parametrize("function, keywords", calls())
def test_every_function_is_in_the_standard_with_its_keywords(function, keywords):
    signature = inspect.signature(getattr(array_api_strict, function))
    assert set(keywords) <= set(signature.parameters)


@pytest.mark.parametrize("function, keywords", calls())
def test_every_function_is_in_cupys_namespace_with_its_keywords(function, keywords):
    pytest.importorskip("cupy", reason="cupy is not installed; .ci/run checks this in an environment of its own")
    found = getattr(importlib.import_module("array_api_compat.cupy"), function)
    try:
        parameters = inspect.signature(found).parameters
    except (TypeError, ValueError):  # a ufunc: the keywords were checked against the strict namespace's
        return
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        assert set(keywords) <= set(parameters)


def loaded_by(program):
    out = subprocess.run(
        [sys.executable, "-c", f"import sys; {program}; print(*sys.modules)"], capture_output=True, text=True
    )
    assert out.returncode == 0, out.stderr
    return {name.partition(".")[0] for name in out.stdout.split()} | set(out.stdout.split())


def test_importing_xpnn_loads_not_even_numpy():
    assert not loaded_by("import xpnn") & (LIBRARIES | {"tqdm", "matplotlib", "sklearn", "xpnn.network"})


def test_a_network_on_numpy_loads_numpy_and_nothing_heavy():
    loaded = loaded_by("import xpnn; net = xpnn.Network(xpnn.mlp([2, 3, 1])); net.fit([[0, 0]], [1], epochs=1)")
    assert "numpy" in loaded
    assert not loaded & (LIBRARIES - {"numpy"} | {"tqdm", "matplotlib", "sklearn", "safetensors"})


@pytest.mark.parametrize("package", ["xpnn", *(f"xpnn.{name}" for name in FOLDERS)])
def test_the_public_names_resolve_and_are_listed(package):
    found, name = importlib.import_module(package), package.removeprefix("xpnn").lstrip(".")
    for public in found.__all__:
        assert getattr(found, public) is not None
    declared = next(node for node in TREES[f"{name}.__init__".lstrip(".")].body if isinstance(node, ast.If))
    shown = {alias.name for node in declared.body for alias in node.names}
    lazy = {public for names in found._HOME.values() for public in names.split()} | set(getattr(found, "_MODULES", ()))
    assert shown == lazy, "what type checkers see is not what is there"
    assert set(dir(found)) == set(found.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Netwrok'"):
        found.Netwrok  # noqa: B018


def test_no_file_holds_two_concepts():
    files = [*FILES.values(), *Path(__file__).parent.rglob("*.py")]
    assert {path: lines for path in files if (lines := len(path.read_text().splitlines())) > 400} == {}
    assert all(ast.get_docstring(tree) for name, tree in TREES.items())
