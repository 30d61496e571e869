"""Every kernel that CuPy is handed for the steps of the test tables compiles, which needs no GPU.

CuPy itself writes the text around ours, so that its names and macros are the real ones; NVRTC compiles it.
"""

import ctypes

import numpy as np
import pytest

from tests.cuda_source import kernels
from xpnn.compile import cublas, cublaslt
from xpnn.compile.cuda import OPTIONS as OWN_OPTIONS
from xpnn.compile.cuda import Cluster, Reduction
from xpnn.compile.rows import Rows

cupy = pytest.importorskip(
    "cupy", reason="cupy is not installed; .ci/run compiles kernels in an environment of its own"
)
_kernel = pytest.importorskip("cupy._core._kernel")
_reduction = pytest.importorskip("cupy._core._reduction")
nvrtc = pytest.importorskip("cupy_backends.cuda.libs.nvrtc")
core = pytest.importorskip("cupy._core.core")

ARRAY, INDEXER, SCALAR = 1, 2, 3
HEADERS = "".join(f"#include <{header}>\n" for header in core._cupy_header_list)
OPTIONS = (*core._get_cccl_include_options(), f"-I{core._get_header_dir_path()}", "--std=c++17", "-ftz=true")
AT_ONCE = 40
"""How many kernels are compiled as one text: most of the time goes into the headers."""


try:
    nvrtc.getVersion()
except Exception as error:
    pytest.skip(f"NVRTC cannot be loaded ({error}); nvidia-cuda-nvrtc-cu12 brings it", allow_module_level=True)


def array(node, shape):
    """CuPy's description of an array that is broadcast to `shape`."""
    return _kernel._ArgInfo(ARRAY, cupy.ndarray, node.dtype, len(shape), node.shape == shape, True)


def indexer(shape):
    return _kernel._ArgInfo(INDEXER, cupy._core._carray.Indexer, None, len(shape), True, True)


def rows(kernel):
    function = cupy.ElementwiseKernel(
        kernel.in_params, kernel.out_params, kernel.operation, kernel.name, preamble=kernel.preamble
    )
    dtypes = [tuple(node.dtype for node in nodes) for nodes in (kernel.reads, kernel.writes)]
    types = function._decide_params_type(*dtypes)[-1]
    raw = (_kernel._ArgInfo(ARRAY, cupy.ndarray, one.dtype, one.ndim, True, True) for one in kernel.reads)
    out = (_kernel._ArgInfo(ARRAY, cupy.ndarray, one.dtype, one.ndim, True, True) for one in kernel.writes)
    return _kernel._get_elementwise_kernel_code(
        (*raw, *out, indexer((kernel.rows,))), types, function.params, function.operation, function.name,
        function.preamble,
    )  # fmt: skip


def elementwise(cluster):
    function = cupy.ElementwiseKernel(
        cluster.in_params, cluster.out_params, cluster.operation, cluster.name, preamble=cluster.preamble
    )
    shape = cluster.writes[0].shape
    dtypes = [tuple(node.dtype for node in nodes) for nodes in (cluster.reads, cluster.writes)]
    types = function._decide_params_type(*dtypes)[-1]
    described = (*(array(node, shape) for node in (*cluster.reads, *cluster.writes)), indexer(shape))
    return _kernel._get_elementwise_kernel_code(
        described, types, function.params, function.operation, function.name, function.preamble
    )


def reduction(kernel):
    node, x = kernel.node, kernel.node.args[0]
    function = cupy.ReductionKernel(*kernel[1:7], kernel.name, kernel.reduce_type)
    params = _kernel._get_param_info("CIndexer _in_ind, CIndexer _out_ind", False)
    params = (*function.in_params, *function.out_params, *params, *_kernel._get_param_info("int32 _block_stride", True))
    stride = _kernel._ArgInfo(SCALAR, type, np.dtype("int32"), 0, True, True)
    described = (array(x, x.shape), array(node, node.shape), indexer(x.shape), indexer(node.shape), stride)
    types = _kernel._TypeMap((("IndexT", np.dtype("int32")),))
    code = _reduction._ReductionKernel_get_cached_function_code(
        1, 1, params, described, types, function.name, 512, function.reduce_type, function.identity,
        function.map_expr, function.reduce_expr, function.post_map_expr, "", ()
    )  # fmt: skip
    return f"{code}\n#undef REDUCE\n#undef _REDUCE\n#undef POST_MAP\n{by_cub(kernel)}"


def by_cub(kernel):
    """The parts of a reduction where CuPy puts them for CUB, which long reductions go to, with the names replaced."""
    given, found = (_kernel._get_param_info(text, True)[0].ctype for text in (kernel.in_params, kernel.out_params))
    map_expr, post_map_expr = kernel.map_expr.replace("given", "in0"), kernel.post_map_expr.replace("found", "out0")
    return f"""
struct _reduction_op {{
  __device__ {kernel.reduce_type} operator()(const {kernel.reduce_type} &a, const {kernel.reduce_type} &b) const {{
    return {kernel.reduce_expr};
  }}
}};
#define POST_MAP(a) ({post_map_expr})
typedef {kernel.reduce_type} _reduced;
extern "C" __global__ void {kernel.name}_cub(const {given} *_in0, {found} *_out0) {{
  _reduced aggregate = _reduced({kernel.identity});
  const {given} in0 = *_in0;
  {found} &out0 = *_out0;
  aggregate = _reduction_op()(aggregate, static_cast<_reduced>({map_expr}));
  POST_MAP(aggregate);
}}
#undef POST_MAP
"""


def compiled(source, architecture):
    """The machine code of a text; a test's failure with the compiler's words where there is none."""
    program = nvrtc.createProgram(HEADERS + source, "kernels.cu", (), ())
    try:
        nvrtc.compileProgram(program, (*OPTIONS, *OWN_OPTIONS, f"-arch={architecture}"))
        return nvrtc.getCUBIN(program)
    except Exception as error:
        pytest.fail(f"{error}\n{nvrtc.getProgramLog(program)}\n{source}")
    finally:
        nvrtc.destroyProgram(program)


@pytest.mark.parametrize("architecture", ["sm_75", "sm_90"])
def test_every_kernel_compiles(architecture):
    written = {Cluster: elementwise, Rows: rows, Reduction: reduction}
    texts = [written[type(one)](one) for one in kernels().values()]
    assert len(texts) > 300
    for start in range(0, len(texts), AT_ONCE):
        together = texts[start : start + AT_ONCE]
        assert compiled("\n".join(f"namespace n{i} {{\n{text}\n}}" for i, text in enumerate(together)), architecture)


def test_what_does_not_compile_is_noticed():
    with pytest.raises(pytest.fail.Exception, match="undefined"):
        compiled('extern "C" __global__ void f(float *x) { *x = undefined_function(*x); }', "sm_75")


def test_cublaslt_takes_what_it_is_told():
    """Descriptors are made on the host: the library itself says whether names, sizes and values are right."""
    try:
        loaded = cublaslt.library()
    except Exception as error:
        pytest.skip(f"cuBLASLt cannot be loaded: {error}")
    stacks = cublas.Matrices(0, 0, 10, 50), cublas.Matrices(0, 1, 800, 600), cublas.Matrices(0, 0, 12, 70)
    asked = cublaslt.Asked("relu_bias", "float32", 77, (10, 32, 784), stacks, 4, 9, (4, 16, 256))
    launch = cublaslt.Launch(loaded, asked)

    def read(what, made, kinds):
        function, found = getattr(loaded, f"cublasLt{what}GetAttribute"), []
        function.argtypes = (*cublaslt.SIGNATURES[f"cublasLt{what}SetAttribute"], ctypes.c_void_p)
        for name, kind in kinds.items():
            value = kind()
            assert function(made, name, ctypes.byref(value), ctypes.sizeof(value), None) == 0
            found.append(value.value)
        return found

    numbers = dict.fromkeys((0, 1, 3, 4), ctypes.c_int32) | {7: ctypes.c_uint32, 10: ctypes.c_int64}
    assert read("MatmulDesc", launch._operation, numbers) == [77, 0, 0, 1, 6, 9]
    kinds = {2: ctypes.c_uint64, 3: ctypes.c_uint64, 4: ctypes.c_int64, 5: ctypes.c_int32, 6: ctypes.c_int64}
    lying = [read("MatrixLayout", made, kinds) for made in launch._layouts]
    assert lying == [[10, 784, 10, 4, 50], [32, 784, 800, 4, 600], [10, 32, 12, 4, 70]]
