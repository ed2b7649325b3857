"""What crosses a boundary: records and their codec, ports, settings, prompts and the error tree.

Everything else may import this package; it imports none of the project's others, and does no I/O beyond reading
the settings file it is asked to read.
"""
