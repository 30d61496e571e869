"""Keeps pytest, which looks into every module for doctests, out of the benchmarks: they are run by command."""

collect_ignore_glob = ["*.py"]
