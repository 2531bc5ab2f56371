"""A commit's message becomes a question: what names the answer, and what belongs to the forge, is taken out."""

import time

import pytest

from search_eval.messages import PathNames, cleaned, is_bot, is_cosmetic, is_revert, is_version_bump, names_stem, words

TREE = ["src/shop/cart.py", "src/shop/api/orders.py", "bin/run", "Makefile", "docs/guide.md", "web/app.test.js"]
NAMES = PathNames.of(TREE)


@pytest.mark.parametrize(
    ("message", "question"),
    [
        ("Fix rounding of totals", "Fix rounding of totals"),
        ("Fix rounding of totals (#123)", "Fix rounding of totals"),
        ("Fix rounding of totals, fixes #123", "Fix rounding of totals"),
        ("Fixes #12: totals are rounded twice", "totals are rounded twice"),
        ("Round once. Closes other/shop#7.", "Round once."),
        ("[SHOP-12] Round once only", "Round once only"),
        ("fix(cart): round totals once", "round totals once"),
        ("feat!: round totals once", "round totals once"),
        ("cart: round totals once", "round totals once"),
        ("shop/api: refuse an empty order", "refuse an empty order"),
        ("warning: an empty order is refused", "warning: an empty order is refused"),
        ("Round totals in cart.py", "Round totals in"),
        ("Round totals in src/shop/cart.py and in `shop/api/orders.py`", "Round totals in and in"),
        ("Round totals in ./src/shop/cart.py.", "Round totals in"),
        ("Round totals in shop.cart", "Round totals in"),
        ("Round totals of src/shop/api too", "Round totals of too"),
        ("Rename old_cart.py, which the tree lost", "Rename which the tree lost"),
        ("The cart rounds once and/or never", "The cart rounds once and/or never"),
        ("Call cart.total() once, e.g. at the end", "Call cart.total() once, e.g. at the end"),
        ("Let the Makefile run quietly", "Let the run quietly"),
        ("Round once\n\nCo-authored-by: Ann <a@b.c>\nSigned-off-by: Bob <b@b.c>", "Round once"),
        ("Round once\n\nFixes: #12\nChange-Id: I0a1b2c3d", "Round once"),
        ("Round once\n\nFixes: the total of an empty cart", "Round once\nFixes: the total of an empty cart"),
        ("Merge pull request #4 from ann/rounding\n\nRound totals once", "Round totals once"),
        ("Round once, as in 0a1b2c3d4e5f", "Round once, as in"),
        ("Round once, see https://example.org/shop/1", "Round once, see"),
        (":bug: Round once", "Round once"),
        ("Round where repo:shop or lang:go is", "Round where repo: shop or lang: go is"),
        ('import (\n"fmt"\n"os"\n)', 'import (\n"fmt"\n"os"'),
    ],
)
def test_what_names_the_answer_or_belongs_to_the_forge_is_taken_out(message: str, question: str) -> None:
    assert cleaned(message, NAMES) == question


def test_a_long_message_is_cut_to_what_a_model_reads() -> None:
    assert len(cleaned("Round the totals once. " * 200, NAMES)) <= 1_000


@pytest.mark.parametrize(
    "message", ["Revert rounding", 'Revert "Round once"', "Oops\n\nThis reverts commit 0a1b2c3.", 'Reapply "Round"']
)
def test_a_revert_is_one(message: str) -> None:
    assert is_revert(message)
    assert not is_revert("Let a user revert an order")


@pytest.mark.parametrize(
    "subject",
    ["v2.31.0", "2.1", "Release 2.1.0", "Bump version", "Bump urllib3 from 1.26 to 2.0", "chore(deps): bump x to 1.2",
     "Prepare release 3.0", "version 1.2", "Bump v1.2.3", "chore: release 1.0.0"],
)  # fmt: skip
def test_a_version_bump_is_one(subject: str) -> None:
    assert is_version_bump(subject)


@pytest.mark.parametrize("subject", ["Update orders when 2 items go", "Release the lock", "Set the total to 2 digits"])
def test_a_change_of_behaviour_is_no_version_bump(subject: str) -> None:
    assert not is_version_bump(subject)


def test_cosmetic_subjects_ask_for_no_place() -> None:
    assert all(map(is_cosmetic, ["Fix typo in cart", "Run black", "Fix linter warnings", "Remove unused import"]))
    assert not any(map(is_cosmetic, ["Format prices by locale", "Import orders"]))


def test_programs_that_commit_are_known_by_name() -> None:
    bots = ["dependabot[bot] <x@users.noreply.github.com>", "Renovate <bot@renovateapp.com>", "pre-commit-ci <x@y.z>"]
    assert all(map(is_bot, bots))
    assert not any(map(is_bot, ["Ann Abbot <ann@abbot.org>", "Robot Smith <r@example.org>"]))


def test_words_are_counted_without_punctuation_and_single_letters() -> None:
    assert words("Fix a #1 - x, totals!") == 2


def test_a_question_that_says_a_gold_files_stem_is_known() -> None:
    assert names_stem("the cart rounds twice", ["src/shop/cart.py"])
    assert names_stem("form mapping fails", ["binding/form_mapping.go"])
    assert names_stem("FormMapping fails", ["binding/form_mapping.go"])
    assert not names_stem("the carton rounds twice", ["src/shop/cart.py"])


@pytest.mark.parametrize("run", ["fix" + " " * 1_000, "fix" + "\n" * 1_000, "+" * 100_000, "a" * 100_000])
def test_no_message_takes_long_whatever_is_pasted_into_it(run: str) -> None:
    began = time.process_time()
    assert cleaned(f"Round totals once {run} more", NAMES).startswith("Round totals once")
    assert time.process_time() - began < 5  # the first took 16 s, the third more than a minute
