"""The reference answers of MBPP (sanitized, train) all pass: tests as people write them are judged rightly."""

import json
import re
from pathlib import Path

import pytest
import trio

from protocols.ports import Job
from sandbox.process import ProcessSandbox
from tests.sandbox.making import function_job

DATA = Path(__file__).parents[3] / "shared" / "data" / "mbpp" / "sanitized-train.jsonl"


def _job(row: dict[str, object]) -> Job:
    tests = [str(test) for test in row["test_list"]]  # type: ignore[union-attr]
    names = re.findall(r"^def\s+(\w+)", str(row["code"]), re.MULTILINE)
    called = [name for name in names if re.search(rf"\b{name}\s*\(", tests[0])]
    setup = "\n".join(map(str, row["test_imports"]))  # type: ignore[call-overload]
    return function_job(str(row["code"]), *tests, entry_point=called[0], setup=setup)


async def test_every_reference_answer_passes():
    if not DATA.exists():
        pytest.skip(f"the data set is not at {DATA.parent}")
    jobs = {row["task_id"]: _job(row) for row in map(json.loads, DATA.read_text().splitlines())}
    sandbox = ProcessSandbox(workers=2)
    failed: dict[int, str] = {}
    weak: list[int] = []

    async def run(task_id: int, job: Job) -> None:
        result = await sandbox.run(job)
        if result.error_class is not None:
            failed[task_id] = f"{result.error_class}: {[outcome.message for outcome in result.outcomes]}"
        if result.evidence == "weak":
            weak.append(task_id)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for task_id, job in jobs.items():
                nursery.start_soon(run, task_id, job)
    assert failed == {}
    assert len(jobs) == 120
    assert len(weak) <= 3, weak
