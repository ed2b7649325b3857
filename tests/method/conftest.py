"""Examples may take as long as they do: the machine is shared, and no test asserts elapsed time."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
