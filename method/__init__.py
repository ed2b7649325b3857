"""The method as pure rules (see README.md): no I/O, no Trio, no clock, no randomness that is not passed in."""
