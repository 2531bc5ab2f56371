"""The page as the product serves it, in a real browser over the real services: it must not go missing from main.py."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import launched
from tests.support.scripted_llm import ScriptedLlm
from tests.support.stack import Stack


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with launched() as browser:
        opened = browser.new_page()
        opened.set_default_timeout(30_000)
        yield opened


def test_a_question_on_the_page_shows_hits_a_written_answer_and_the_lines_that_it_cites(
    page: Page, stack: Stack, model: ScriptedLlm, flask: Path
) -> None:
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text))
    model.will_say("It joins the root path and the folder [1], and nothing else does [77].")
    page.goto(stack.url)
    expect(page.locator("#health")).to_have_text("1 indexed")
    page.get_by_label("Question").fill("How does Flask find the template folder?")
    page.keyboard.press("Enter")
    expect(page.locator("#answer-text")).to_have_text("It joins the root path and the folder 1, and nothing else does.")
    expect(page.locator(".hit").first).to_be_visible()
    expect(page.locator("#citations li")).to_have_count(1)
    page.get_by_role("button", name="Show citation 1").click()
    place = re.search(r"1(.+):(\d+)–(\d+)", page.locator("#citations li").inner_text().replace("\n", ""))
    assert place is not None
    path, first, last = place[1], int(place[2]), int(place[3])
    marked = page.locator(".hit .row.marked")
    expect(marked.first).to_be_in_viewport()
    assert [row.get_attribute("data-line") for row in marked.all()] == [str(line) for line in range(first, last + 1)]
    wanted = (flask / path).read_text().split("\n")[first - 1 : last]
    assert [row.inner_text().strip() for row in marked.all()] == [line.strip() for line in wanted]
    assert complaints == []
