"""Looks at a contact sheet of two windows a function in Chromium: `python3 sheet_browser.py FILE`. Ends with 0 when it does what it must."""

import json
import pathlib
import sys
import tempfile

from browser import Browser, until


def look(browser, url):
    text = lambda selector: browser.run(f"document.querySelector('{selector}').textContent")
    count = lambda selector: browser.run(f"document.querySelectorAll('{selector}').length")
    labels = lambda: browser.run("[...document.querySelectorAll('#sheet b')].map((one) => one.textContent).join(' ')").split()
    browser.go(url)
    until(lambda: count("#sheet button") > 0, "the windows")
    windows = count("#sheet button")
    assert count("#large polyline") == 1

    # Keys 1 to 4 name the pattern and go on; what was last is taken back.
    for key in "1243":
        browser.press(key)
    until(lambda: len(labels()) == min(4, windows), "four labels")
    assert labels()[:3] == ["steady", "fluctuating", "jump"], labels()
    browser.press("u")
    until(lambda: len(labels()) == min(4, windows) - 1, "one label less")
    assert f"3 of {windows} labelled" in text("#progress"), text("#progress")

    # What is saved has the study's form.
    csv = browser.run("csv()")
    lines = csv.splitlines()
    assert lines[0] == "HashFunction,time1,time2", lines
    assert lines[1].endswith(",steady,fluctuating") and lines[2].endswith(",jump,"), lines
    # The labels are there after the page was loaded anew.
    browser.go(url)
    until(lambda: len(labels()) == 3, "the labels of before")

    # What the rules say is shown only when asked for.
    assert browser.run("document.getElementById('rule').hidden")
    browser.click("#hint")
    until(lambda: text("#rule").startswith("Rules: "), "what the rules say")

    assert not (logged := browser.log("browser")), logged
    asked = [json.loads(entry["message"])["message"] for entry in browser.log("performance")]
    asked = {one["params"]["request"]["url"] for one in asked if one["method"] == "Network.requestWillBeSent"}
    foreign = [one for one in asked if one.split("#")[0] != url and not one.startswith(("data:", "about:", "chrome:", "blob:"))]
    assert not foreign, foreign
    print(csv, end="")


def main():
    url = pathlib.Path(sys.argv[1]).resolve().as_uri()
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(profile)
        try:
            look(browser, url)
        finally:
            browser.close()


if __name__ == "__main__":
    main()
