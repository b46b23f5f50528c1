"""The page in Chromium without a window, whose microphone is a recording.

``ASR_HLG_SCREENSHOTS=docs/pictures`` writes the pictures of the documentation.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from websockets.sync.client import connect

from asr_hlg.serve.graphs import Graphs
from asr_hlg.serve.options import ServeOptions
from tests.support.live_toys import running

pytestmark = [pytest.mark.slow, pytest.mark.real]

RATE = 16000
WORDS = "the train leaves at seven so we need to hurry"
DIGITS = {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"}
SECONDS = 60_000  # milliseconds that playwright waits for the page


@pytest.fixture(scope="module")
def graphs(root, english, digit_loop):
    folders = str(root / "graphs" / "en"), str(digit_loop)
    return Graphs(ServeOptions(graphs=folders, fast=True))


@pytest.fixture(scope="module")
def server(graphs):
    with running(graphs) as found:
        yield found


@pytest.fixture(scope="module")
def talk(root) -> Path:
    return root / "examples" / "02-rms.wav"


@pytest.fixture(scope="module")
def microphone(talk, folder_of_tests) -> Path:
    """The recording between pauses, as the browser's microphone takes it."""
    samples, rate = soundfile.read(talk)
    assert rate == RATE
    pauses = np.zeros(RATE), np.zeros(4 * RATE)
    path = folder_of_tests / "microphone.wav"
    soundfile.write(path, np.concatenate([pauses[0], samples, pauses[1]]), RATE)
    return path


@pytest.fixture(scope="module")
def browser(microphone):
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("needs the program chromium: apt install chromium")
    arguments = [
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={microphone}%noloop",
    ]
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=program, args=arguments)
        yield found
        found.close()


@contextmanager
def opened(browser, address: str, **options):
    """A page of the server; messages of its console are failures."""
    context = browser.new_context(viewport={"width": 900, "height": 700}, **options)
    page = context.new_page()
    page.set_default_timeout(SECONDS)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(address)
    yield page
    context.close()
    assert faults == []


def screenshot(page, name: str, tmp_path: Path) -> None:
    folder = Path(os.environ.get("ASR_HLG_SCREENSHOTS", tmp_path))
    page.screenshot(path=folder / f"page-{name}.png")


def text_of_lines(page) -> str:
    return " ".join(" ".join(page.locator("#lines .word").all_inner_texts()).split())


def downloaded(page, name: str) -> str:
    with page.expect_download() as started:
        page.get_by_role("button", name=name, exact=True).click()
    return Path(started.value.path()).read_text()


def test_words_appear_while_they_are_spoken(browser, server, tmp_path):
    with opened(browser, server.http) as page:
        page.get_by_role("button", name="Microphone").click()
        page.locator("#partial", has_text="train").wait_for()
        assert page.locator("#lines li").count() == 0
        assert page.locator("#level").evaluate("meter => meter.value") >= 0
        screenshot(page, "live", tmp_path)
        page.locator("#lines li").wait_for()  # the pause ends the segment
        assert text_of_lines(page) == WORDS
        assert page.locator("#partial").inner_text() == ""
        page.keyboard.press("m")
        page.get_by_text("Done.").wait_for()
        assert page.locator("#record").get_attribute("aria-pressed") == "false"

        assert downloaded(page, "Text") == WORDS + "\n"
        subtitles = downloaded(page, "SRT")
        assert subtitles.startswith("1\n00:00:0")
        assert WORDS in subtitles
        assert downloaded(page, "VTT").startswith("WEBVTT\n\n00:00:0")
        [line] = json.loads(downloaded(page, "JSON"))
        assert [word["word"] for word in line["words"]] == WORDS.split()
        assert 1.0 < line["words"][0]["start"] < line["words"][-1]["end"] < line["end"] + 0.001

        page.locator(".word", has_text="train").press("Enter")
        alternatives = page.locator("#alternatives button")
        alternatives.first.wait_for()
        assert any("train" in text and "%" in text for text in alternatives.all_inner_texts())
        page.keyboard.press("Escape")
        assert not page.locator("#alternatives").is_visible()
        page.locator(".word", has_text="train").press("ArrowRight")
        assert page.evaluate("document.activeElement.textContent") == "leaves"

        page.get_by_role("button", name="Details").click()
        page.locator(".alignment").wait_for()
        assert page.locator(".alignment text:not(.phone)").all_text_contents() == WORDS.split()
        assert page.locator(".alignment .phone").count() > 20
        if shutil.which("dot"):
            image = page.locator(".lattice img")
            assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
        screenshot(page, "details", tmp_path)


def test_a_recording_and_a_choice_among_alternatives(browser, server, talk, tmp_path):
    with opened(browser, server.http, color_scheme="dark") as page:
        page.locator("#files").set_input_files(talk)
        page.get_by_text("02-rms.wav is done").wait_for()
        assert text_of_lines(page) == WORDS
        assert not page.locator("#progress-box").is_visible()
        page.get_by_role("button", name="Details").click()
        page.locator(".alignment").wait_for()
        page.get_by_role("button", name="hurry").click()
        page.locator("#alternatives button").last.click()
        chosen = text_of_lines(page).split()[-1]
        assert downloaded(page, "Text").split()[:9] == WORDS.split()[:9]
        assert page.locator(".word.changed").count() == (0 if chosen == "hurry" else 1)
        screenshot(page, "dark", tmp_path)
        page.get_by_role("button", name="Clear").click()
        assert page.locator("#lines li").count() == 0


def test_a_phone_shows_all_without_scrolling_sideways(browser, server, talk, tmp_path):
    with opened(browser, server.http) as page:
        page.set_viewport_size({"width": 360, "height": 640})
        page.locator("#files").set_input_files(talk)
        page.get_by_text("02-rms.wav is done").wait_for()
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 360
        screenshot(page, "phone", tmp_path)


def test_hotwords_and_the_choice_of_graph(browser, server, talk):
    with opened(browser, server.http) as page:
        page.get_by_text("Hotwords").click()
        page.locator("#hotwords").fill("so wee need to hurry\nthe front")
        page.locator("#files").set_input_files(talk)
        page.get_by_text("02-rms.wav is done").wait_for()
        assert "so wee need" in text_of_lines(page)
        page.locator("#graph").select_option("digit-loop")
        page.get_by_role("button", name="Clear").click()
        page.locator("#files").set_input_files(talk)
        page.locator("#lines .word").first.wait_for()
        assert set(text_of_lines(page).split()) <= DIGITS


def test_errors_of_the_server_are_shown_in_words(browser, graphs, tmp_path):
    with running(graphs, max_streams=1) as server:
        with connect(server.ws), opened(browser, server.http) as page:
            page.get_by_role("button", name="Microphone").click()
            page.get_by_text("no room for more than 1 streams").wait_for()
            assert page.locator("#record").get_attribute("aria-pressed") == "false"
        with opened(browser, server.http) as page:
            (tmp_path / "letter.wav").write_text("no sound")
            page.locator("#files").set_input_files(tmp_path / "letter.wav")
            page.get_by_text("Error: letter.wav:").wait_for()


def test_a_page_with_an_api_key(browser, graphs, tmp_path):
    (tmp_path / "keys").write_text("right\n")
    keys = tmp_path / "keys"
    with running(graphs, api_key_file=keys) as server, opened(browser, server.http) as page:
        page.get_by_text("the server needs an API key").wait_for()
        page.locator("#key").fill("right")
        page.locator("#key").press("Tab")
        page.locator("#error").wait_for(state="hidden")
        page.get_by_role("button", name="Microphone").click()
        page.locator("#partial:not(:empty)").wait_for()
