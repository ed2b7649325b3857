"""Mutants that behave like the code they were made of, each with the reason: no test can reject them.

Keys are the task's id and the mutant's description as `tests.tasks.mutants` gives it.
"""

EQUIVALENT: dict[tuple[str, str], str] = {
    (
        "dicts/league_table",
        "10:27 comparison: home_goals > away_goals -> home_goals >= away_goals",
    ): "equal goals were dealt with before",
    ("programs/shop_stock", "13:25 integer: 0 -> -1"): "only positive numbers are sold, and -1 is below them as 0 is",
    ("programs/counter_machine", "17:26 integer: 0 -> -1"): "first and last of a list of one",
    ("lists/fewest_steps", "4:36 integer: 0 -> -1"): "all rows of a rectangle are equally long",
    ("parsing/evaluate_sum", "2:41 string: ')' -> ')x'"): "nothing is read after the bracket that ends the expression",
    (
        "sorting/best_bookings",
        "2:59 integer: 1 -> 0",
    ): "a booking that ends before another starts also starts before it",
    (
        "strings/one_edit_apart",
        "2:7 comparison: len(a) > len(b) -> len(a) >= len(b)",
    ): "between equally long words the question is symmetric",
    ("recursion/island_size", "5:57 integer: 0 -> -1"): "all rows of a rectangle are equally long",
    ("recursion/solve_mini_sudoku", "4:48 integer: 16 -> 15"): "rows still start at 0, 4, 8 and 12",
}
