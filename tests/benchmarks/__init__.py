"""Side-by-side comparisons of speed, run by command and never by a plain pytest: `python -m tests.benchmarks`."""
