"""`python -m benchmarks [NAME]`: run one benchmark, or all, without those that lack what they need."""

import importlib
import sys
from pathlib import Path

from protocols.errors import RefineError

_HELPERS = {
    "__init__",
    "__main__",
    "changed_weights",
    "learn_outcome",
    "report",
    "sandbox_peers",
    "train_contenders",
}


def known_benchmarks() -> list[str]:
    """Return the names of all benchmarks: modules with a `main` that takes nothing."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in _HELPERS)


def main(arguments: list[str]) -> int:
    known = known_benchmarks()
    chosen = [argument for argument in arguments if argument] or known
    if unknown := [name for name in chosen if name not in known]:
        print(f"no benchmark is called {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    failed = False
    named = set(arguments)
    for name in chosen:
        try:
            importlib.import_module(f"benchmarks.{name}").main()
        except RefineError as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed |= name in named
    return 2 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
