"""The error pattern of an execution: its error class and which tests failed.

Patterns compare over tasks: they hold no task id and no message. The class itself is the sandbox's finding.
"""

from protocols.records import Execution

SOLVED = "solved"
"""Pattern of an execution that failed nothing."""


def error_pattern(execution: Execution) -> str:
    """Return the class and the failing tests' 0-based indices, runs shortened: `wrong_answer@1,3-5`."""
    failing = [index for index, outcome in enumerate(execution.outcomes) if not outcome.passed]
    if execution.error_class is None and not failing:
        return SOLVED
    name = execution.error_class or "other"
    return f"{name}@{_ranges(failing)}" if failing else name


def _ranges(indices: list[int]) -> str:
    runs: list[list[int]] = []
    for index in indices:
        if runs and runs[-1][-1] == index - 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
