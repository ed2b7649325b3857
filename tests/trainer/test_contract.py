"""Fake and real trainer keep the same promises."""

from pathlib import Path

import pytest
import trio

from tests.trainer.contract import CHECKS, Check
from trainer.fake import FakeTrainer
from trainer.process import open_trainer


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_fake_trainer(check: Check, tmp_path: Path) -> None:
    with trio.fail_after(10):
        await check(FakeTrainer(), Path("tiny"), tmp_path)


async def test_the_real_trainer_with_one_warm_worker(tiny_model: Path, tmp_path: Path) -> None:
    with trio.fail_after(300):
        async with open_trainer(log_path=tmp_path / "log", threads=1, step_deadline_s=200) as trainer:
            for check in CHECKS:
                folder = tmp_path / check.__name__
                folder.mkdir()
                await check(trainer, tiny_model, folder)
