"""The emitter for CuPy without CuPy: C that means what NumPy means, and kernels that never read what is not there."""

import re
from itertools import product

import numpy as np
import pytest

from tests.c_kernels import COMPILER, SANITIZER, built, reducing
from tests.cuda_source import kernels, plans
from xpnn.compile.cuda import TYPES, Cluster, Reduction, cluster_source, literal, reduction_source
from xpnn.compile.launches import source, steps
from xpnn.compile.namespace import ELEMENTWISE, FLOATING, REDUCTIONS
from xpnn.compile.plan import Plan, Unit
from xpnn.compile.rows import COLUMNS, Rows, rows_source, together
from xpnn.compile.simplify import apply, constant
from xpnn.compile.trace import Graph, Untraceable

needs_a_compiler = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")
ROUNDED = {*FLOATING, "pow", "atan2", "hypot", "logaddexp"} - {"sqrt", "reciprocal"}
"""What libraries compute to within some units in the last place."""
REALS = [0.0, 1.0, 0.5, 1.5, 2.5, 3.0, 1e-3, 7.25, 88.5, 104.0, 1e5, 1e30, 1e-40, np.inf]
INTEGERS = [0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 33, 63, 64, 100]
MIXED = [("float32", "float64"), ("int32", "int64"), ("uint8", "int32"), ("int8", "int16")]


def values(dtype):
    """Numbers at which functions turn, overflow or are undefined."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return np.asarray([False, True])
    if dtype.kind == "f":
        ends = [np.nan, np.finfo(dtype).max, np.finfo(dtype).tiny, np.finfo(dtype).eps]
        return np.asarray([sign * x for x in (*REALS, *ends) for sign in (1, -1)], dtype)
    ends = np.iinfo(dtype)
    found = {sign * x for x in INTEGERS for sign in (1, -1)} | {ends.min, ends.min + 1, ends.max, ends.max - 1}
    return np.asarray(sorted(x for x in found if ends.min <= x <= ends.max), dtype)


def arguments(op, dtypes):
    """Every combination of these, but for those whose result no standard says."""
    grids = np.meshgrid(*map(values, dtypes), indexing="ij")
    arrays = [grid.ravel() for grid in grids]
    if op == "pow" and arrays[-1].dtype.kind != "f":
        return [array[arrays[-1] >= 0] for array in arrays]
    return arrays


def traced(call, arrays):
    """The node of one operation and its cluster; None where the result is the operand."""
    graph = Graph()
    nodes = [graph.input(f"x{i}", array.shape, array.dtype) for i, array in enumerate(arrays)]
    node = call(graph.xp, *nodes)
    return node, None if node in set(nodes) else cluster_source(Unit((node,), (node,)))


def operations():
    """Of each elementwise operation and the dtypes that it takes: the operation, arrays, the node and its cluster."""
    for op in sorted(ELEMENTWISE - {"where", "astype"}):
        alike = [(dtype,) * count for count in (1, 2) for dtype in TYPES]
        for dtypes in alike + MIXED + [pair[::-1] for pair in MIXED]:
            arrays = arguments(op, dtypes)
            try:
                node, cluster = traced(lambda xp, *nodes, op=op: getattr(xp, op)(*nodes), arrays)
                with np.errstate(all="ignore"):
                    expected = apply(node, arrays, np) if cluster else arrays[0]
            except (TypeError, ValueError, Untraceable):
                continue  # not of so many, or not of these
            if expected.dtype == node.dtype and cluster is not None:
                yield op, arrays, expected, cluster
    for dtype in TYPES:
        arrays = arguments("where", ("bool", dtype, dtype))
        node, cluster = traced(lambda xp, *nodes: xp.where(*nodes), arrays)
        yield "where", arrays, apply(node, arrays, np), cluster
    for given, wanted in product(TYPES, TYPES):
        if given != wanted:
            array = values(given)
            if np.dtype(given).kind == "f" and np.dtype(wanted).kind in "iu":  # only what the integers have
                array = np.asarray([0.0, 0.5, 1.5, 7.25, 100.0] + [-0.5, -7.25, -100.0] * (wanted[0] == "i"), given)
            node, cluster = traced(lambda xp, x, wanted=wanted: xp.astype(x, wanted), [array])
            with np.errstate(all="ignore"):
                yield "astype", [array], apply(node, [array], np), cluster


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """The results of every operation in C beside NumPy's."""
    made = list(operations())
    run = built([cluster for *_, cluster in made], tmp_path_factory.mktemp("operations"), SANITIZER)
    return [(op, arrays, expected, run[cluster.name]) for op, arrays, expected, cluster in made]


@needs_a_compiler
@pytest.mark.parametrize("op", sorted(ELEMENTWISE))
def test_every_operation_is_numpys_and_nothing_is_undefined(op, cases, capfd):
    mine = [case[1:] for case in cases if case[0] == op]
    assert mine
    for arrays, expected, run in mine:
        (found,) = run(expected.shape, *arrays)
        assert found.dtype == expected.dtype
        near = 8 * np.finfo(found.dtype).eps if op in ROUNDED and found.dtype.kind == "f" else 0.0
        np.testing.assert_allclose(found, expected, rtol=near, atol=near * 1e-30, err_msg=f"{op} {arrays[0].dtype}")
        if found.dtype.kind == "f" and op not in ("maximum", "minimum"):  # of 0 and -0 either may be the larger
            numbers = ~np.isnan(expected)
            np.testing.assert_array_equal(np.signbit(found)[numbers], np.signbit(expected)[numbers])
    assert "runtime error" not in capfd.readouterr().err


@needs_a_compiler
def test_every_reduction_is_numpys(tmp_path, capfd):
    made = []
    for op, dtype in product(sorted(REDUCTIONS), TYPES):
        numbers = values(dtype)[:2] if op == "prod" else values(dtype)
        lines = [numbers, numbers[::-1], numbers[:1], numbers[~np.isnan(numbers)], numbers[np.abs(numbers) < 1e20]]
        for line in lines if numbers.dtype.kind == "f" else lines[:3]:
            x = Graph().input("x", line.shape, line.dtype)
            try:
                node = getattr(x.graph.xp, op)(x)
            except (TypeError, Untraceable):
                continue  # not of these
            given = line.astype(node.args[0].dtype)
            with np.errstate(all="ignore"):
                made.append((reduction_source(node), given, apply(node, [given], np)))
    run = reducing([kernel for kernel, *_ in made], tmp_path, SANITIZER)
    assert {kernel.node.op for kernel, *_ in made} == REDUCTIONS
    for kernel, given, expected in made:
        found = run[kernel.name](given)
        assert found.dtype == expected.dtype
        rounded = found.dtype.kind == "f" and np.isfinite(given).all()  # in an order of its own
        near = 4 * np.finfo(found.dtype).eps * np.sum(np.abs(given)) if rounded else 0
        np.testing.assert_allclose(found, expected, rtol=0, atol=near, err_msg=f"{kernel.node.op} of {given.dtype}")
    assert "runtime error" not in capfd.readouterr().err


def test_what_cupy_replaces_in_a_reduction_stands_alone():
    for kernel in kernels().values():
        if isinstance(kernel, Reduction):
            for text, name in ((kernel.map_expr, "given"), (kernel.post_map_expr, "found")):
                assert text.count(name) == len(re.findall(rf"\b{name}\b", text)) == 1
            assert not re.search("given|found", kernel.reduce_expr + kernel.identity + kernel.reduce_type)


@needs_a_compiler
@pytest.mark.parametrize("dtype", list(TYPES))
def test_constants_are_the_very_numbers(dtype, tmp_path):
    numbers = values(dtype)
    if numbers.dtype.kind == "f":
        numbers = np.append(numbers, np.random.default_rng(0).normal(size=200).astype(dtype))
    graph = Graph()
    yes, nothing = graph.input("yes", (1,), "bool"), graph.constant(0, dtype)
    chosen = [(yes, graph.constant(x.item(), dtype), nothing) for x in numbers]
    nodes = dict.fromkeys(graph.record("where", args, {}, (1,), np.dtype(dtype)) for args in chosen)
    clusters = [cluster_source(Unit((node,), (node,))) for node in nodes]
    run = built(clusters, tmp_path)
    found = np.concatenate([run[cluster.name]((1,), np.asarray([True]))[0] for cluster in clusters])
    expected = np.asarray([node.args[1].options["value"] for node in nodes], dtype)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))


def number_of(node, planned, rng):
    """Numbers for an input of a plan: its rows, data and parameters of both signs, moments and rates within (0, 1)."""
    name = node.options["name"]
    if name in ("x", "data.x"):
        return planned.x
    if node.dtype.kind in "iu":
        return rng.integers(0, 3, node.shape).astype(node.dtype)
    signed = name.startswith(("data", "carry.params", "params"))
    return (rng.normal(size=node.shape) if signed else rng.uniform(0.1, 0.9, node.shape)).astype(node.dtype)


@needs_a_compiler
def test_plans_run_kernel_by_kernel_give_what_the_operations_give(tmp_path):
    clusters = [kernel for kernel in kernels().values() if isinstance(kernel, Cluster | Rows)]
    assert len(clusters) > 300
    assert sum(isinstance(kernel, Rows) for kernel in clusters) > 20
    run = built(clusters, tmp_path)
    for planned in plans():
        plan, rng = planned.plan, np.random.default_rng(0)
        held = {node: number_of(node, planned, rng) for node in plan.inputs.values()}
        held |= {node: constant(node) for node in plan.constants}
        expected = dict(held)
        with np.errstate(all="ignore"):
            for node in plan.order:
                expected[node] = apply(node, [expected[arg] for arg in node.args], np)
            for step in steps(plan):  # hands on what is written, and nothing else
                given = [read(arg, held, plan) for arg in step.reads]
                if isinstance(step.kernel, Rows):
                    shapes = [node.shape for node in step.writes]
                    found = run[step.kernel.name](step.kernel.rows, *given, shapes=shapes)
                elif isinstance(step.kernel, Cluster):
                    found = run[step.kernel.name](step.node.shape, *given)
                else:
                    found = [apply(step.node, given, np)]
                held |= dict(zip(step.writes, found, strict=True))
        for name, node in plan.outputs.items():
            near = 1e-4 if planned.x.dtype == np.float32 else 1e-10
            scale = np.max(np.abs(expected[node]), initial=1e-30, where=np.isfinite(expected[node]))
            context = f"{name} of {planned.name}"
            np.testing.assert_allclose(read(node, held, plan), expected[node], near, near * scale, err_msg=context)


def read(node, held, plan):
    return apply(node, [read(node.args[0], held, plan)], np) if node in plan.views else held[node]


def check_memory(plan):
    """Follow who wrote last where: each kernel finds what it reads, and writes over nothing that it reads elsewhere."""
    owner = {("input", name): node for name, node in plan.inputs.items()}
    written = set()

    def place(node):
        """The memory that a node has to itself, None for what no other can be given; of a part, that of the whole."""
        home = plan.home.get(node, ("input", node.options.get("name")))
        return place(home[1][0]) if home[0] == "part" else home[:2] if home[0] in ("block", "input") else None

    def holder(node):
        home = plan.home.get(node)
        return home.where[0] if home is not None and home.kind == "part" else node

    def check(arg):
        root = plan.root(arg)
        if root.op == "constant":
            return
        assert root in written or root.op == "input", f"{root} is read before it is written"
        at = place(root)
        assert at is None or owner.get(at) is holder(root), f"{root} was written over by {owner.get(at)}"
        parts = [node for node, home in plan.home.items() if home.kind == "part" and home.where[0] is root]
        assert all(node in written for node in parts if root.op == "concat"), f"{root} is not complete"

    for step in steps(plan):
        for arg in step.reads:
            check(arg)
        reads = [(arg, plan.root(arg)) for arg in step.reads if plan.root(arg).op != "constant"]
        assert not {root for _, root in reads} & set(step.writes), f"{step.node} reads a view of what it writes"
        places = [place(node) for node in step.writes if holder(node) is node]
        for node in step.writes:
            at = place(node)
            if at is not None:
                assert holder(node) is not node or places.count(at) == 1, f"two results of {step} in one place"
                for arg, root in reads:
                    if place(root) == at and holder(root) is not holder(node):
                        alike = (arg.shape, arg.dtype.itemsize) == (node.shape, node.dtype.itemsize)
                        assert alike and arg is root and isinstance(step.kernel, Cluster | Rows), f"{node} spoils {arg}"
                owner[at] = holder(node)
            written.add(node)
    for node in plan.outputs.values():
        check(node)


def test_nothing_is_read_that_was_written_over():
    for planned in plans():
        check_memory(planned.plan)


def test_a_cluster_ends_where_it_would_look_at_its_own_results():
    graph = Graph()
    x = graph.input("x", (3, 3), "float32")
    double = x * 2.0
    plan = Plan({"y": double + graph.xp.matrix_transpose(double)}, {"y": "fresh"}, products=False, cluster=True)
    check_memory(plan)
    assert [step.node.op for step in steps(plan)] == ["multiply", "add"]


def steps_of(function, *shapes):
    """What is launched for a function of (xp, *arrays)."""
    graph = Graph()
    inputs = [graph.input(f"x{i}", shape, "float32") for i, shape in enumerate(shapes)]
    found = function(graph.xp, *inputs)
    plan = Plan({"y": found}, {"y": "fresh"}, products=False, cluster=True, rows=together)
    check_memory(plan)
    return steps(plan)


def softmax(xp, x):
    e = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
    return e / xp.sum(e, axis=-1, keepdims=True)


def test_a_softmax_is_one_kernel():
    for shape in ((8, 10), (3, 8, 10)):
        (step,) = steps_of(softmax, shape)
        assert isinstance(step.kernel, Rows)
        assert step.kernel.rows == np.prod(shape[:-1])
    assert len(steps_of(softmax, (8, COLUMNS + 1))) == 4  # a thread would hold too much


def test_what_looks_at_the_rows_otherwise_stays_apart():
    def turned(xp, x):  # a view of what the kernel itself computes
        y = softmax(xp, x)
        return y + xp.matrix_transpose(y)

    def mixed(xp, x):  # needs the sum over all rows
        y = softmax(xp, x)
        return y * xp.sum(y)

    kinds = [type(step.kernel).__name__ for step in steps_of(turned, (4, 4))]
    assert kinds == ["Rows", "Cluster"]
    assert [type(step.kernel).__name__ for step in steps_of(mixed, (4, 4))] == ["Rows", "Reduction", "Cluster"]


@needs_a_compiler
@pytest.mark.parametrize("op", sorted(REDUCTIONS))
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "bool"])
def test_rows_are_reduced_as_numpy_does(op, dtype, tmp_path):
    graph, rng = Graph(), np.random.default_rng(0)
    x, bias = graph.input("x", (3, 4, 5), dtype), graph.input("bias", (3, 1, 5), dtype)
    xp = graph.xp
    try:
        shifted = xp.logical_or(x, bias) if dtype == "bool" else x + bias
        found = getattr(xp, op)(shifted, axis=-1, keepdims=True)
    except (TypeError, Untraceable):
        pytest.skip(f"no {op} of {dtype}")
    nodes = tuple(dict.fromkeys([shifted, *found.args, found]))
    kernel = rows_source(Unit(nodes, nodes))
    values = [rng.integers(0, 3, node.shape).astype(dtype) for node in (x, bias)]
    got = built([kernel], tmp_path)[kernel.name](kernel.rows, *values, shapes=[node.shape for node in nodes])
    held = dict(zip((x, bias), values, strict=True))
    for node, array in zip(nodes, got, strict=True):
        held[node] = apply(node, [held[arg] for arg in node.args], np)
        np.testing.assert_allclose(array, held[node], rtol=1e-6)


def test_kernels_have_names_of_their_own():
    texts = {}
    for name, kernel in kernels().items():
        assert re.fullmatch(r"xpnn_[a-z0-9_]+", name)
        assert texts.setdefault(name, str(kernel)) == str(kernel)


def test_a_cluster_of_more_arrays_than_a_kernel_takes_is_refused():
    graph = Graph()
    nodes = [graph.input("x0", (2, 2), "float32")]
    for i in range(1, 100):
        nodes.append(nodes[-1] + graph.input(f"x{i}", (2, 2), "float32"))
    with pytest.raises(Untraceable, match="101 arrays in one kernel"):
        cluster_source(Unit(tuple(nodes[1:]), (nodes[-1],)))


def test_the_source_shows_every_kernel_and_every_call():
    planned = plans()[0]
    text = source(planned.plan)
    for step in steps(planned.plan):
        assert (step.node.op if step.kernel is None else step.kernel.name) in text
    assert "data.x" in text


def test_literals_of_negative_numbers_stand_apart():
    assert literal(-0.5, np.dtype("float64")) == "(-0.5)"
    assert literal(-0.0, np.dtype("float32")) == "(-0.0f)"
    assert literal(-(2**31), np.dtype("int32")) == "(-2147483647 - 1)"
    assert literal(3, np.dtype("uint8")) == "(unsigned char)3u"
