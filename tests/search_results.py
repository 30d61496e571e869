"""What is equal in the results of two searches: everything but times."""

import numpy as np


def assert_same_results(found, wanted):
    assert list(found) == list(wanted)
    for name, values in wanted.items():
        mine = found[name]
        assert type(mine) is type(values), name
        if name == "params":
            assert list(map(str, mine)) == list(map(str, values))
        elif "time" in name:
            assert mine.shape == values.shape and (mine >= 0.0).all()
        else:
            assert mine.dtype == values.dtype, name
            if values.dtype.kind == "O":
                assert [str(one) for one in mine] == [str(one) for one in values]
            else:
                np.testing.assert_allclose(np.ma.filled(mine, -1), np.ma.filled(values, -1), atol=1e-9, err_msg=name)
