"""Mutants that behave like the code they were made of, each with the reason: no test can reject them.

Keys are the task's id and the mutant's description as `tests.tasks.mutants` gives it.
"""

EQUIVALENT: dict[tuple[str, str], str] = {
    (
        "dicts/league_table",
        "10:27 comparison: home_goals > away_goals -> home_goals >= away_goals",
    ): "equal goals were dealt with before",
    ("recursion/handshakes", "2:12 integer: 1 -> 0"): "nobody at all shakes as many hands as one person: none",
    ("programs/shop_stock", "13:25 integer: 0 -> -1"): "only positive numbers are sold, and -1 is below them as 0 is",
    ("recursion/stair_ways", "2:11 integer: 0 -> -1"): "from -1 every way goes on to -2 or -4, which have none",
    ("numbers/common_divisors", "2:39 integer: 1 -> 2"): "tries a + 1 too, which never divides a",
    (
        "sorting/merge_ordered",
        "5:34 comparison: second[j] < number -> second[j] <= number",
    ): "which of two equal numbers comes first cannot be seen",
    ("programs/counter_machine", "17:26 integer: 0 -> -1"): "first and last of a list of one",
    (
        "numbers/in_base",
        "5:15 string: '0123456789ABCDEF' -> '0123456789ABCDEFx'",
    ): "no base above 16 is asked for, so the seventeenth digit is never used",
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
