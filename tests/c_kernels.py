"""Clusters run on the CPU: the very C text that CuPy is given, in a loop of a C++ function."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np

from xpnn.compile.cuda import TYPES

COMPILER = shutil.which("g++")
HEAD = """#include <cmath>
using namespace std;
#define __device__
#define CUDART_INF_F __builtin_inff()
#define CUDART_NAN_F __builtin_nanf("")
#define CUDART_INF __builtin_inf()
#define CUDART_NAN __builtin_nan("")
"""
FLAGS = ["-shared", "-fPIC", "-O0", "-w", "-ffp-contract=off"]
SANITIZER = ["-fsanitize=signed-integer-overflow,shift,integer-divide-by-zero"]


def built(clusters, folder: Path, flags=()):
    """For each cluster by name a function that takes a shape and what is read, and gives what is written."""
    clusters = {cluster.name: cluster for cluster in clusters}  # of the same text one
    loaded = _library(map(_text, clusters.values()), folder, flags)
    return {name: _function(loaded[name], cluster) for name, cluster in clusters.items()}


def reducing(reductions, folder: Path, flags=()):
    """For each reduction by name a function that takes an array and gives the one number."""
    reductions = {reduction.name: reduction for reduction in reductions}
    loaded = _library(map(_reduction_text, reductions.values()), folder, flags)

    def function(name, reduction):
        def run(array):
            found = np.empty((), reduction.node.dtype)
            given = np.ascontiguousarray(array)
            loaded[name](ctypes.c_long(given.size), *(ctypes.c_void_p(x.ctypes.data) for x in (given, found)))
            return found

        return run

    return {name: function(name, reduction) for name, reduction in reductions.items()}


def _library(texts, folder: Path, flags):
    source, library = folder / "kernels.cpp", folder / "kernels.so"
    source.write_text(HEAD + "\n".join(texts))
    command = [str(COMPILER), *FLAGS, "-o", library, source]
    if not flags or subprocess.run([*command, *flags], capture_output=True).returncode:  # g++ without its sanitizer
        subprocess.run(command, check=True)
    return ctypes.CDLL(str(library))


def _text(cluster) -> str:
    if cluster.in_params.startswith("raw") or cluster.out_params.startswith("raw"):
        return _rows_text(cluster)
    reads = [(f"const {TYPES[node.dtype.name]}", f"a{i}") for i, node in enumerate(cluster.reads)]
    writes = [(TYPES[node.dtype.name], f"y{i}") for i, node in enumerate(cluster.writes)]
    params = "".join(f", {kind} *_{name}" for kind, name in reads + writes)
    bound = "".join(f"{kind} &{name} = _{name}[_i]; " for kind, name in reads + writes)
    loop = f"for (long _i = 0; _i < _n; _i++) {{ {bound}\n{cluster.operation}\n}}"
    return (
        f"namespace of_{cluster.name} {{\n{cluster.preamble}\n"
        f'extern "C" void {cluster.name}(long _n{params}) {{ {loop} }}\n}}\n'
    )


def _rows_text(kernel) -> str:
    """All arrays are raw: the text finds the numbers itself, in their own order."""
    reads = [f"const {TYPES[node.dtype.name]} *a{i}" for i, node in enumerate(kernel.reads)]
    writes = [f"{TYPES[node.dtype.name]} *y{i}" for i, node in enumerate(kernel.writes)]
    return (
        f"namespace of_{kernel.name} {{\n{kernel.preamble}\n"
        f'extern "C" void {kernel.name}({", ".join(["long _n", *reads, *writes])}) '
        f"{{ for (long i = 0; i < _n; i++) {{\n{kernel.operation}\n}} }}\n}}\n"
    )


def _reduction_text(reduction) -> str:
    kinds = (TYPES[node.dtype.name] for node in (reduction.node.args[0], reduction.node))
    params, kept = "long _n, const {} *_given, {} *_found".format(*kinds), reduction.reduce_type
    return f"""extern "C" void {reduction.name}({params}) {{
  auto &found = *_found;
  typedef {kept} _kept;
  _kept a = _kept({reduction.identity});
  for (long _i = 0; _i < _n; _i++) {{
    auto &given = _given[_i];
    _kept b = static_cast<_kept>({reduction.map_expr});
    a = ({reduction.reduce_expr});
  }}
  {reduction.post_map_expr};
}}"""


def _function(address, cluster):
    def over_rows(count, *arrays, shapes=None):
        given = [np.array(array, order="C") for array in arrays]
        shapes = [node.shape for node in cluster.writes] if shapes is None else shapes
        found = [np.empty(shape, node.dtype) for shape, node in zip(shapes, cluster.writes, strict=True)]
        address(ctypes.c_long(count), *(ctypes.c_void_p(array.ctypes.data) for array in given + found))
        return found

    if cluster.in_params.startswith("raw") or cluster.out_params.startswith("raw"):
        return over_rows

    def run(shape, *arrays):
        assert [array.dtype for array in arrays] == [node.dtype for node in cluster.reads]
        given = [np.array(np.broadcast_to(array, shape), order="C") for array in arrays]
        found = [np.empty(shape, node.dtype) for node in cluster.writes]
        address(ctypes.c_long(found[0].size), *(ctypes.c_void_p(array.ctypes.data) for array in given + found))
        return found

    return run
