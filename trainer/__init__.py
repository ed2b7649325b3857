"""Examples in, proven adapter out; the only package that imports torch."""
