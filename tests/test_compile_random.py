"""Random networks over the whole catalogue: compiled steps agree with eager ones, and nothing in memory is lost."""

import hypothesis
import numpy as np

from tests.compiled import far, prepared, ways
from tests.plans import check
from tests.test_gradients import draws, well_posed
from xpnn import Adam
from xpnn.layers import walk


@hypothesis.settings(max_examples=200)
@hypothesis.given(draw=draws())
def test_random_networks(draw):
    case = well_posed(draw)
    net, (x, y, weight) = case.net, case.data
    ready = prepared(net, x, y, draw.loss, weight=weight)
    found = ways(ready)
    carry, value = found.pop("eager")
    for way, (own, given) in found.items():
        if way != "rows" or not any(leaf.random for _, leaf in walk(net.layer)):
            np.testing.assert_allclose(given, value, rtol=1e-12, atol=1e-12, err_msg=way)
            assert far(own, carry) <= 1e-11, way  # what divides by little multiplies rounding
    expected = net.predict(x, compile=False)
    assert all(net.predict(x).tobytes() == expected.tobytes() for _ in range(3))
    check(prepared(net, x, y, draw.loss, Adam(), weight), "rows", "numpy")
    check(ready, "step", "clusters")
