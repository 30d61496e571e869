"""`python -m xpnn`: what is installed, which backends are usable here, and for the others why not."""

import platform

import numpy as np

from xpnn import __version__
from xpnn.availability import backends
from xpnn.backend import resolve


def main() -> None:
    """Print versions, threads, a line for each backend, and the command to try next."""
    print(f"xpnn {__version__}, Python {platform.python_version()}, NumPy {np.__version__}, BLAS {_blas()}")
    found = backends()
    for status in found.values():
        print(f"  {status}")
    print(f'backend="auto" chooses {resolve("auto").label}')
    others = [status.name for status in found.values() if status.usable and status.name != "numpy"]
    print("Try: python examples/01_circles.py" + (f" --backend {others[0]}" if others else ""))


def _blas() -> str:
    """The BLAS libraries that NumPy has loaded and how many threads each may use."""
    from threadpoolctl import threadpool_info

    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    known = [f"{pool['internal_api']} {pool['version']}, {pool['num_threads']} threads" for pool in pools]
    return "; ".join(known) or "unknown to threadpoolctl"


if __name__ == "__main__":
    main()
