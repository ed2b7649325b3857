import pytest
from hypothesis import given
from hypothesis import strategies as st

from method.examples import answer_example
from method.overlap import overlap_index, overlaps
from protocols.records import Task
from tests.method.making import task

INSTRUCTION = "Write a function that returns the largest gap between two neighbouring numbers of a list."
REFERENCE = """
def f(numbers):
    best = 0
    for left, right in zip(numbers, numbers[1:]):
        best = max(best, abs(left - right))
    return best
"""
OTHER = "Return how many of the words begin with a vowel."
EVALUATED = task("eval/gap", instruction=INSTRUCTION, reference=REFERENCE)
INDEX = overlap_index(
    [EVALUATED, task("eval/short", instruction="Add two given numbers.", reference="def f(a, b): return a + b")]
)


def trained(instruction: str = OTHER, reference: str | None = None, id: str = "train/x") -> Task:
    return task(id, instruction=instruction, reference=reference)


def test_ten_words_in_a_row_of_the_instruction_overlap() -> None:
    quoted = "Please do this: returns the LARGEST gap, between two neighbouring numbers of a list. Thanks."
    assert overlaps(INDEX, trained(quoted)) == "eval/gap"


def test_nine_words_in_a_row_do_not() -> None:
    assert overlaps(INDEX, trained("Returns the largest gap between two neighbouring numbers of many.")) is None


def test_a_short_instruction_must_be_there_as_a_whole() -> None:
    index = overlap_index([task("eval/double", instruction="Double every second number given.")])
    assert overlaps(index, trained("Now double every second number given, and print it.")) == "eval/double"
    assert overlaps(index, trained("Now double every second number of the list.")) is None


def test_very_short_instructions_say_too_little_to_match() -> None:
    assert overlaps(INDEX, trained("Add two given numbers.")) is None


@pytest.mark.parametrize(
    "copy",
    [
        REFERENCE,
        "def g(xs):\n  b = 0\n  for i, j in zip(xs, xs[1:]):\n    b = max(b, abs(i - j))\n  return b",
        "class A: pass\n" + REFERENCE,
    ],
)
def test_code_that_is_the_same_up_to_names_or_holds_a_stretch_of_it_overlaps(copy: str) -> None:
    assert overlaps(INDEX, trained(reference=copy)) == "eval/gap"


def test_another_constant_is_other_code() -> None:
    other = "def g(xs):\n  b = 1\n  for i, j in zip(xs, xs[1:]):\n    b = max(b, abs(i - j))\n  return b"
    assert overlaps(INDEX, trained(reference=other)) is None


def test_trivial_code_is_common_knowledge() -> None:
    assert overlaps(INDEX, trained(reference="def plus(x, y): return x + y")) is None


def test_an_evaluation_task_overlaps_with_itself_by_its_id() -> None:
    assert overlaps(INDEX, trained(id="eval/short")) == "eval/short"


def test_an_example_is_matched_by_what_it_asks_and_what_it_teaches() -> None:
    def example(instruction: str, code: str) -> str | None:
        return overlaps(INDEX, answer_example(trained(instruction), code, origin="self", round=1, version=0))

    assert example(INSTRUCTION, "x = 1") == "eval/gap"
    assert example(OTHER, REFERENCE) == "eval/gap"
    assert example(OTHER, "x = 1") is None


@pytest.mark.parametrize("kind", ["function", "stdio"])
def test_the_boilerplate_of_prompts_is_no_overlap(kind: str) -> None:
    def short(id: str, instruction: str) -> Task:
        return Task(id=id, kind=kind, instruction=instruction, entry_point="f")  # pyright: ignore[reportArgumentType]

    index = overlap_index([short("e", "Sort all of the words."), short("e2", "Turn the whole list around, please.")])
    one = answer_example(short("t", "Count the words."), "x = 1", origin="self", round=1, version=0)
    assert overlaps(index, one) is None


def test_an_index_of_nothing_matches_nothing() -> None:
    assert overlaps(overlap_index([]), EVALUATED) is None


words = st.lists(st.sampled_from(["one", "two", "three", "four", "five", "six", "seven"]), min_size=10, max_size=14)


@given(words, words, words)
def test_whatever_surrounds_a_quoted_instruction_it_is_found(
    before: list[str], quoted: list[str], after: list[str]
) -> None:
    index = overlap_index([task("e", instruction=" ".join(quoted))])
    assert overlaps(index, trained(", ".join([*before, *quoted, *after]).upper())) == "e"
