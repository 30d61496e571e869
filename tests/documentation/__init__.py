"""The reference of the public names and the gallery of examples, as pages: `python -m tests.documentation`."""
