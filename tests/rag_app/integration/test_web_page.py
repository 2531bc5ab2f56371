"""The page in a real browser, against a server with canned answers. Code in hits is hostile input throughout."""

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, Route, expect

from rag_app.web.router import web_router
from service_kit.app import create_service
from service_kit.metrics import HttpMetrics
from tests.support.browser import launched
from tests.support.fake_rag import HOSTILE, FakeRag, citation, failure, hit, repository
from tests.support.live import live


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as running:
        yield running


@dataclass
class Site:
    """The page at `url`, over the server `rag`; `complaints` is what the browser's console says."""

    url: str
    rag: FakeRag
    page: Page
    complaints: list[str] = field(default_factory=list)

    def ask(self, question: str = "how are templates found?") -> None:
        self.page.goto(self.url)
        self.page.get_by_label("Question").fill(question)
        self.page.keyboard.press("Enter")


@pytest.fixture
def rag() -> FakeRag:
    return FakeRag()


@pytest.fixture
def site(browser: Browser, rag: FakeRag) -> Iterator[Site]:
    app = rag.app()
    app.include_router(web_router())
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(30_000)
    with live(app) as url:
        opened = Site(url, rag, context.new_page())
        opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        opened.page.on("console", lambda message: opened.complaints.append(message.text))
        yield opened
        context.close()


def test_a_question_shows_hits_with_line_numbers_and_the_answer_with_its_citations(site: Site) -> None:
    site.ask()
    answer = site.page.locator("#answer-text")
    expect(answer).to_contain_text("Templates are found by find_template")
    first = site.page.locator(".hit").first
    expect(first).to_contain_text("src/app.py:10–15")
    expect(first).to_contain_text("find_template")
    assert first.locator(".number").first.get_attribute("data-number") == "10"
    expect(first.locator(".t-keyword").first).to_have_text("def")  # highlighted
    expect(site.page.locator("#citations li")).to_have_text(["1src/app.py:12–14"])
    assert site.rag.asked("/v1/ask") == {"question": "how are templates found?", "stream": True}
    assert site.complaints == []  # no breach of the content security policy either


def test_what_is_typed_before_the_repositories_are_listed_stays(site: Site) -> None:
    held: list[Route] = []
    site.page.route("**/v1/repositories", lambda route: held.append(route))
    site.page.goto(site.url)
    site.page.get_by_label("Question").fill("how are templates found?")
    held[0].continue_()
    expect(site.page.locator("#health")).to_contain_text("indexed")
    site.page.keyboard.press("Enter")
    expect(site.page.locator(".hit")).to_have_count(2)


def test_an_answer_tells_its_request_id_where_the_mouse_rests_on_its_time(site: Site) -> None:
    site.ask()
    expect(site.page.locator("#meta")).to_have_attribute("title", re.compile(f"--request-id {site.rag.request_id}$"))


def test_a_citation_marks_exactly_its_lines(site: Site) -> None:
    site.ask()
    site.page.get_by_role("button", name="Show citation 1").click()
    marked = site.page.locator(".row.marked")
    expect(marked).to_have_count(3)
    assert [row.get_attribute("data-line") for row in marked.all()] == ["12", "13", "14"]
    expect(marked.first).to_be_in_viewport()


def test_a_citation_opens_a_long_hit_that_was_folded(site: Site) -> None:
    site.rag.hits = [hit("long.py", 1, "\n".join(f"value_{line} = {line}" for line in range(1, 61)))]
    site.rag.citations = [citation(1, "long.py", 40, 41)]
    site.ask()
    expect(site.page.get_by_text("Show all 60 lines")).to_be_visible()
    expect(site.page.get_by_text("value_40")).to_be_hidden()
    site.page.get_by_role("button", name="Show citation 1").click()
    expect(site.page.get_by_text("value_40")).to_be_visible()


def test_a_citation_without_a_hit_opens_its_source(site: Site) -> None:
    site.rag.citations = [citation(1, "other.py", 70, 71)]
    site.ask()
    site.page.get_by_role("button", name="Show citation 1").click()
    panel = site.page.get_by_role("dialog")
    expect(panel).to_contain_text("other.py:70–71")
    expect(panel.locator(".row.marked")).to_have_text([re.compile("line_70"), re.compile("line_71")])
    assert site.rag.asked("/v1/source")["start_line"] == "58"  # with the lines around it
    site.page.keyboard.press("Escape")
    expect(panel).to_be_hidden()


def test_html_in_code_paths_symbols_answers_and_names_is_shown_as_text_and_never_run(site: Site) -> None:
    site.rag.repositories = [repository(name=HOSTILE), repository("r2", "other")]
    site.rag.hits = [hit(f"src/{HOSTILE}.py", symbol=HOSTILE), hit(language=HOSTILE, repository="r2")]
    site.rag.pieces = [f"# {HOSTILE}\n\n- {HOSTILE}\n\n`{HOSTILE}` **{HOSTILE}**\n```{HOSTILE}\n{HOSTILE}\n```\n"]
    site.rag.degraded = [HOSTILE]
    site.ask(HOSTILE)
    expect(site.page.locator("#hits .code").first).to_contain_text("<img src=x onerror=")
    expect(site.page.locator("#answer-text h3")).to_have_text(HOSTILE)
    expect(site.page.locator(".symbol").first).to_have_text(HOSTILE)
    expect(site.page.locator(".t-keyword").first).to_be_visible()  # the highlighted code is in place
    assert site.page.locator("img, main script").count() == 0
    assert "owned" not in site.page.title().replace(HOSTILE, "")
    assert site.complaints == []


def test_the_answer_appears_while_it_is_written(site: Site) -> None:
    site.rag.pieces, site.rag.may_go_on = ["The first half,", " the second half."], threading.Event()
    site.ask()
    answer = site.page.locator("#answer-text")
    expect(answer).to_have_text("The first half,")
    expect(site.page.locator("#go")).to_have_text("Stop")
    site.rag.may_go_on.set()
    expect(answer).to_have_text("The first half, the second half.")
    expect(site.page.locator("#go")).to_have_text("Ask")


def test_code_within_the_final_answer_is_highlighted_and_ends_without_blank_lines(site: Site) -> None:
    site.rag.pieces = ["So:\n\n```python\ndef f(): ...", "\n\n\n```\n"]
    site.ask()
    expect(site.page.locator("#answer-text .fence .t-keyword")).to_have_text("def")
    site.page.wait_for_timeout(300)  # frames that were asked for earlier have passed
    expect(site.page.locator("#answer-text .fence .t-keyword")).to_have_text("def")
    assert site.page.locator("#answer-text .fence").inner_text().rstrip("\n") == "def f(): ..."


def test_markers_that_point_to_nothing_are_gone_in_the_end(site: Site) -> None:
    site.rag.pieces, site.rag.final = ["See [1] and [2]."], "See [1]."
    site.ask()
    expect(site.page.locator("#answer-text")).to_have_text("See 1.")
    expect(site.page.get_by_role("button", name="Show citation 2")).to_have_count(0)


def test_escape_stops_an_answer(site: Site) -> None:
    site.rag.pieces, site.rag.may_go_on = ["Slowly", " written"], threading.Event()
    site.ask()
    expect(site.page.locator("#answer-text")).to_have_text("Slowly")
    site.page.keyboard.press("Escape")
    expect(site.page.locator("#meta")).to_have_text("Stopped.")
    expect(site.page.locator("#go")).to_have_text("Ask")
    site.rag.may_go_on.set()


def test_a_hit_whose_last_lines_are_blank_shows_every_line_that_its_heading_names(site: Site) -> None:
    site.rag.hits, site.rag.citations = [hit("a.py", 3, "x = 1\n\n")], []
    site.ask()
    expect(site.page.locator(".hit .t-number").first).to_be_visible()  # the highlighted code is in place
    numbers = site.page.locator(".hit .number").all()
    assert [number.get_attribute("data-number") for number in numbers] == ["3", "4", "5"]


def test_slash_focuses_the_question(site: Site) -> None:
    site.ask()
    expect(site.page.locator("#citations li")).to_have_count(1)
    site.page.evaluate("document.activeElement.blur()")
    site.page.keyboard.press("/")
    expect(site.page.get_by_label("Question")).to_be_focused()
    assert site.page.get_by_label("Question").input_value() == "how are templates found?"  # no slash typed into it


def test_a_link_to_a_question_asks_it_in_its_repository(site: Site) -> None:
    site.rag.repositories.append(repository("r2", "django"))
    site.page.goto(f"{site.url}/?q=where%20is%20it&repo=django")
    expect(site.page.locator("#citations li")).to_have_count(1)
    assert site.rag.asked("/v1/ask") == {"question": "where is it", "stream": True, "repositories": ["r2"]}


def test_a_question_can_be_shared_and_gone_back_from(site: Site) -> None:
    site.ask("first")
    expect(site.page.locator("#citations li")).to_have_count(1)
    site.page.get_by_label("in", exact=True).select_option("flask")
    site.page.get_by_label("Question").fill("second")
    site.page.get_by_role("button", name="Ask").click()
    expect(site.page).to_have_url(f"{site.url}/?q=second&repo=flask")
    site.page.go_back()
    expect(site.page.get_by_label("Question")).to_have_value("first")
    expect(site.page).to_have_title("first · Code Assistant")


def test_an_extractive_answer_is_marked_and_names_the_settings(site: Site) -> None:
    site.rag.degraded = ["llm"]
    site.ask()
    expect(site.page.locator("#mode")).to_have_text("extracts")
    expect(site.page.locator(".notice.note")).to_contain_text("OPENAI_API_KEY")
    expect(site.page.locator(".notice.note")).to_contain_text("LLM_BASE_URL")


def test_an_abstained_answer_is_marked_and_cites_nothing(site: Site) -> None:
    site.rag.abstained, site.rag.hits, site.rag.citations = True, [], []
    site.rag.pieces = ["Nothing in the indexed code is relevant to this."]
    site.ask()
    expect(site.page.locator("#mode")).to_have_text("nothing relevant found")
    expect(site.page.locator("#hits")).to_be_hidden()
    expect(site.page.locator("#citations li")).to_have_count(0)


def test_a_refusal_is_the_servers_own_sentence_and_can_be_tried_again(site: Site) -> None:
    site.page.goto(site.url)
    expect(site.page.locator("#health")).to_have_text("1 indexed")
    site.rag.failure = failure(503, "unavailable", "Qdrant cannot be reached at 127.0.0.1:6333")
    site.page.get_by_label("Question").fill("q")
    site.page.keyboard.press("Enter")
    alert = site.page.get_by_role("alert")
    expect(alert).to_contain_text("Qdrant cannot be reached at 127.0.0.1:6333 (request t)")
    site.rag.failure = None
    alert.get_by_role("button", name="Try again").click()
    expect(site.page.locator("#citations li")).to_have_count(1)
    expect(alert).to_have_count(0)


@pytest.mark.parametrize("breach", ["stream_error", "breaks_off"])
def test_an_answer_that_breaks_off_is_told_and_what_came_stays(site: Site, breach: str) -> None:
    if breach == "stream_error":
        site.rag.stream_error = {"error": {"code": "timeout", "message": "the answer broke off: no reply in 120 s"}}
    else:
        site.rag.breaks_off = True
    site.ask()
    expect(site.page.get_by_role("alert")).to_contain_text("broke off")
    expect(site.page.locator("#answer-text")).to_contain_text("Templates are found")
    expect(site.page.locator(".hit")).to_have_count(2)


def test_nothing_indexed_yet_says_how_to_begin_and_notices_when_it_has(site: Site) -> None:
    site.rag.repositories = []
    site.page.goto(site.url)
    expect(site.page.get_by_text("Nothing is indexed yet")).to_be_visible()
    expect(site.page.get_by_text("code-assistant index /path/to/your/code")).to_be_visible()
    site.rag.repositories = [repository(state="indexing")]
    expect(site.page.locator("#health")).to_have_text("indexing flask")


def test_a_server_that_is_gone_is_told_and_noticed_when_it_is_back(browser: Browser, rag: FakeRag) -> None:
    app = rag.app()
    app.include_router(web_router())
    page = browser.new_page()
    with live(app) as url:
        page.goto(url)
        expect(page.locator("#health")).to_have_text("1 indexed")
    page.get_by_label("Question").fill("q")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("code-assistant up")
    expect(page.locator("#health")).to_have_text("no server")
    with live(app, port=int(url.rpartition(":")[2])):
        expect(page.locator("#health")).to_have_text("1 indexed", timeout=30_000)
        expect(page.get_by_role("alert")).to_have_count(0)
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_at_400_pixels_nothing_sticks_out_and_everything_is_named(site: Site, scheme: str) -> None:
    site.page.set_viewport_size({"width": 400, "height": 800})
    site.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    site.rag.hits = [hit("a/very/long/path/" * 6 + "file.py", 1, "x = " + "1 + " * 200)]
    site.ask()
    expect(site.page.locator(".hit")).to_have_count(1)
    assert site.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    unnamed = "[...document.querySelectorAll('button, input, select')].filter(e => !(e.innerText || e.labels?.length))"
    assert site.page.evaluate(f"{unnamed}.filter(e => !e.ariaLabel && e.offsetParent).length") == 0


@pytest.fixture
def served() -> Iterator[str]:
    async def readiness() -> list[object]:
        return []

    app: FastAPI = create_service(
        "rag_app", readiness=readiness, metrics=HttpMetrics("rag_app"), max_body_bytes=1_000_000
    )
    app.include_router(web_router())
    with live(app) as url:
        yield url


@pytest.mark.parametrize("path", ["/", "/static/app.js", "/static/style.css", "/static/icon.svg"])
def test_the_pages_files_are_served_under_a_policy_that_runs_nothing_of_others(served: str, path: str) -> None:
    answer = httpx.get(served + path)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "http" not in re.sub(r"http://www\.w3\.org/2000/svg|https?://localhost", "", answer.text)  # nobody's CDN


@pytest.mark.parametrize("name", ["nothing.js", "router.py", "..%2frouter.py", "%2e%2e%2frouter.py", ".", "x.html"])
def test_no_other_file_is_served(served: str, name: str) -> None:
    answer = httpx.get(f"{served}/static/{name}")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


def test_highlighting_answers_tokens_and_refuses_what_is_none(served: str) -> None:
    body = {"snippets": [{"content": "x = '<b>'", "language": "python"}]}
    answer = httpx.post(f"{served}/web/highlight", json=body).json()
    assert answer["snippets"][0][0][-1] == ["string", "'<b>'"]
    refused = httpx.post(f"{served}/web/highlight", json={"snippets": [{"content": "x"}] * 201})
    assert refused.status_code == 422
    assert "200" in refused.json()["error"]["message"]
