"""The page of a server with a key, in a real browser: it asks once, keeps what it is told, and sends it as a header."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Request, expect

from rag_app.web.router import web_router
from tests.support.browser import launched
from tests.support.fake_rag import FakeRag
from tests.support.guarded import KEY, guard
from tests.support.live import live


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as running:
        yield running


@dataclass
class Locked:
    """The page at `url`, which asks for KEY. `sent`: what the browser sent. `complaints`: faults of its scripts."""

    url: str
    rag: FakeRag
    context: BrowserContext
    page: Page
    sent: list[Request] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @property
    def dialog(self) -> Locator:
        return self.page.get_by_role("dialog", name="This server asks for a key")

    def enter(self, key: str = KEY) -> None:
        self.page.get_by_label("Key", exact=True).fill(key)
        self.page.keyboard.press("Enter")

    def is_open(self) -> None:
        expect(self.page.locator("#health")).to_have_text("1 indexed")
        expect(self.dialog).to_have_count(0)


@pytest.fixture
def rag() -> FakeRag:
    return FakeRag()


@pytest.fixture
def locked(browser: Browser, rag: FakeRag) -> Iterator[Locked]:
    app = rag.app()
    app.include_router(web_router())
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(10_000)
    with live(guard(app)) as url:
        page = context.new_page()
        opened = Locked(url, rag, context, page)
        page.on("request", lambda request: opened.sent.append(request))
        page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        page.goto(url)
        expect(opened.dialog).to_be_visible()
        yield opened
        context.close()


def test_the_page_asks_once_and_then_searches_answers_and_shows_sources_with_the_key(locked: Locked) -> None:
    expect(locked.dialog).to_be_visible()
    assert locked.rag.requests == []
    locked.enter()
    locked.is_open()
    locked.page.get_by_label("Question").fill("how are templates found?")
    locked.page.keyboard.press("Enter")
    expect(locked.page.locator("#answer-text")).to_contain_text("Templates are found by find_template")  # a stream
    expect(locked.page.locator(".hit .t-keyword").first).to_have_text("def")  # highlighted
    locked.page.locator(".hit .open").first.click()
    expect(locked.page.locator("#source .row").first).to_be_visible()
    assert locked.complaints == []


def test_who_reloads_is_not_asked_again_and_a_new_tab_is(locked: Locked) -> None:
    locked.enter()
    locked.is_open()
    locked.page.reload()
    locked.is_open()
    other = locked.context.new_page()
    other.goto(locked.url)
    expect(other.get_by_role("dialog")).to_be_visible()


def test_who_has_it_remembered_is_not_asked_in_another_tab(locked: Locked) -> None:
    locked.page.get_by_label("Remember it in this browser").check()
    locked.enter()
    locked.is_open()
    other = locked.context.new_page()
    other.goto(locked.url)
    expect(other.locator("#health")).to_have_text("1 indexed")


def test_a_wrong_key_is_told_and_asked_for_again(locked: Locked) -> None:
    locked.enter("ca-wrong")
    expect(locked.dialog.get_by_role("alert")).to_have_text("The server does not take this key.")
    field = locked.page.get_by_label("Key", exact=True)
    expect(field).to_be_focused()
    expect(field).to_have_value("")
    expect(field).to_have_attribute("aria-invalid", "true")
    locked.enter(f"  {KEY} ")  # as it is copied
    locked.is_open()


@pytest.mark.parametrize("key", ["", "   ", "two words", "schlüssel"])
def test_what_no_key_is_cannot_be_entered(locked: Locked, key: str) -> None:
    locked.enter(key)
    locked.enter(KEY)
    locked.is_open()
    keys = {request.headers.get("authorization") for request in locked.sent}
    assert keys == {None, f"Bearer {KEY}"}  # the other one was never sent


def test_a_key_that_the_server_has_changed_is_asked_for_in_the_middle_of_work(locked: Locked) -> None:
    locked.page.evaluate("sessionStorage.setItem('code-assistant-key', 'ca-of-yesterday')")
    locked.page.goto(f"{locked.url}/?q=where")
    expect(locked.dialog.get_by_role("alert")).to_be_visible()
    locked.enter()
    expect(locked.page.locator("#citations li")).to_have_count(1)  # the question of the address was asked


@pytest.mark.parametrize("way", ["Escape", "Cancel"])
def test_who_closes_the_dialogue_is_left_alone_and_can_come_back(locked: Locked, way: str) -> None:
    expect(locked.dialog).to_be_visible()
    if way == "Escape":
        locked.page.keyboard.press("Escape")
    else:
        locked.page.get_by_role("button", name="Cancel").click()
    expect(locked.page.locator("#health")).to_have_text("key needed")
    alert = locked.page.get_by_role("alert")
    expect(alert).to_contain_text("code-assistant key")
    expect(locked.page.get_by_text("Nothing is indexed yet")).to_have_count(0)  # nobody knows
    locked.page.wait_for_timeout(3_500)  # after which a server that is gone would be asked again
    expect(locked.dialog).to_have_count(0)
    alert.get_by_role("button", name="Enter the key").click()
    locked.enter()
    locked.is_open()
    expect(alert).to_have_count(0)


def test_who_asks_without_a_key_is_asked_for_it_and_gets_the_answer(locked: Locked) -> None:
    locked.page.keyboard.press("Escape")
    locked.page.get_by_label("Question").fill("q")
    locked.page.keyboard.press("Enter")
    expect(locked.dialog).to_be_visible()
    locked.enter()
    expect(locked.page.locator("#citations li")).to_have_count(1)


def test_the_dialogue_can_be_used_by_keyboard_alone_and_everything_in_it_is_named(locked: Locked) -> None:
    expect(locked.page.get_by_label("Key", exact=True)).to_be_focused()
    order = []
    for _ in range(3):
        locked.page.keyboard.press("Tab")
        order.append(locked.page.evaluate("document.activeElement.id"))
    assert order == ["key-keep", "key-cancel", "key-enter"]
    assert locked.page.evaluate("document.querySelector('#key').matches(':modal')")  # the rest is out of reach
    expect(locked.dialog).to_have_accessible_description(
        "Where the server runs, code-assistant key prints it. "
        "In Compose: docker compose exec rag-server code-assistant key"
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_dialogue_fits_400_pixels(locked: Locked, scheme: str) -> None:
    locked.page.set_viewport_size({"width": 400, "height": 700})
    locked.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    expect(locked.dialog).to_be_in_viewport(ratio=1)
    assert locked.page.evaluate(
        "document.querySelector('#key').scrollWidth <= document.querySelector('#key').clientWidth"
    )


def test_the_key_is_in_no_address_no_page_and_no_log(locked: Locked, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    locked.enter()
    locked.is_open()
    locked.page.get_by_label("Question").fill("q")
    locked.page.keyboard.press("Enter")
    expect(locked.page.locator("#citations li")).to_have_count(1)
    assert KEY not in locked.page.url + locked.page.content() + "".join(request.url for request in locked.sent)
    assert KEY not in locked.page.get_by_label("Key", exact=True).input_value()
    assert locked.page.evaluate("document.cookie") == ""
    carrying = [request for request in locked.sent if request.headers.get("authorization") == f"Bearer {KEY}"]
    assert {"/v1/repositories", "/v1/ask", "/web/highlight"} <= {
        request.url.removeprefix(locked.url) for request in carrying
    }
    assert all(request.url.startswith(locked.url) for request in locked.sent)
    assert KEY not in caplog.text
