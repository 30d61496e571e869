"""The compiled step: trace a pure function once, plan it, run the plan."""
