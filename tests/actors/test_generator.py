"""The Generator: distinct candidates of the current version, asked for once."""

import pytest

from actors.fake import ScriptedPolicy
from actors.generator import Generator
from actors.messages import Assignment
from ledger.memory import MemoryLedger
from protocols.errors import EndpointBroken, EndpointError
from protocols.prompts import answer_prompt
from protocols.records import Candidate, Generation
from tests.actors.parts import base_version, fenced, good, make_task, make_version, raise_error, scripted_policy, wrong

TASK = make_task(3)


def make_generator(
    policy: ScriptedPolicy, ledger: MemoryLedger, *, candidates: int = 4, temperatures: tuple[float, ...] = (0.8,)
) -> Generator:
    return Generator(policy, ledger, candidates=candidates, temperatures=temperatures, top_p=0.9, max_tokens=99, seed=5)


async def test_equal_responses_are_one_candidate_with_a_count() -> None:
    ledger = MemoryLedger()
    texts = [
        fenced(good(3)),
        fenced(wrong(3)),
        fenced("def f3(y):  # renamed\n    return y + 3"),
        "I do not know.",
    ]
    policy = scripted_policy(lambda number, version: texts)
    made = await make_generator(policy, ledger).generate(Assignment(task=TASK, round=0))
    assert [(one.index, one.count, one.code is None) for one in made.candidates] == [
        (0, 2, False),
        (1, 1, False),
        (3, 1, True),
    ]
    assert await ledger.find(Candidate) == made.candidates
    (generation,) = await ledger.find(Generation)
    assert (generation.responses, generation.prompt_tokens, generation.version) == (4, 10, 0)


async def test_the_request_is_what_the_settings_say() -> None:
    policy = scripted_policy(lambda number, version: [fenced(good(number))])
    await make_generator(policy, MemoryLedger()).generate(Assignment(task=TASK, round=0))
    ((_, request),) = policy.requests
    assert request.messages == answer_prompt(TASK)
    assert (request.n, request.temperature, request.top_p, request.max_tokens) == (4, 0.8, 0.9, 99)


async def test_a_ladder_is_one_request_for_each_temperature() -> None:
    policy = scripted_policy(lambda number, version: [fenced(good(number)), fenced(wrong(number))])
    generator = make_generator(policy, MemoryLedger(), candidates=5, temperatures=(0.6, 0.2))
    made = await generator.generate(Assignment(task=TASK, round=0))
    assert sorted((request.temperature, request.n) for _, request in policy.requests) == [(0.2, 3), (0.6, 2)]
    assert [one.temperatures for one in made.candidates] == [(0.2, 0.2, 0.6), (0.2, 0.6)]
    assert len({request.seed for _, request in policy.requests}) == 2


async def test_seeds_differ_by_round_and_are_the_same_after_a_crash() -> None:
    seeds: list[int | None] = []
    for round in (0, 0, 1):
        policy = scripted_policy(lambda number, version: [fenced(good(number))])
        await make_generator(policy, MemoryLedger()).generate(Assignment(task=TASK, round=round))
        seeds.append(policy.requests[0][1].seed)
    assert seeds[0] == seeds[1] != seeds[2]
    assert all(seed is not None and 0 <= seed < 2**31 for seed in seeds)


async def test_candidates_record_the_version_that_answered() -> None:
    policy = scripted_policy(lambda number, version: [fenced(good(number))], make_version(2))
    made = await make_generator(policy, MemoryLedger()).generate(Assignment(task=TASK, round=1))
    assert {one.version for one in made.candidates} == {2}


async def test_a_generation_on_record_is_not_asked_for_again() -> None:
    ledger = MemoryLedger()
    policy = scripted_policy(lambda number, version: [fenced(good(number)), fenced(wrong(number))])
    first = await make_generator(policy, ledger).generate(Assignment(task=TASK, round=0))
    silent = ScriptedPolicy(raise_error(AssertionError("asked")), base_version())
    assert await make_generator(silent, ledger).generate(Assignment(task=TASK, round=0)) == first


async def test_an_endpoint_that_fails_leaves_nothing_on_record() -> None:
    ledger = MemoryLedger()
    policy = ScriptedPolicy(raise_error(EndpointBroken("down")), base_version())
    with pytest.RaisesGroup(EndpointError):
        await make_generator(policy, ledger).generate(Assignment(task=TASK, round=0))
    assert await ledger.find(Candidate) == ()
    assert await ledger.find(Generation) == ()


@pytest.mark.parametrize("text", ["", "no code at all", "```\n```"])
async def test_a_response_without_code_is_a_candidate_all_the_same(text: str) -> None:
    policy = scripted_policy(lambda number, version: [text])
    made = await make_generator(policy, MemoryLedger()).generate(Assignment(task=TASK, round=0))
    assert [(one.code, one.count) for one in made.candidates] == [(None, 4)]
