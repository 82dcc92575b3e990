"""Looks at the figures of loads and their datasets in Chromium: `python3 workload_browser.py FILE`. Ends with 0 when they do what
they must."""

import pathlib
import sys
import tempfile

from browser import Browser, until
from report_browser import quiet

MINUTES = "#workload-minutes"
DIFFERENCES = "#workload-differences"


def look(browser, url):
    text = lambda selector: browser.run(f"document.querySelector('{selector}').textContent")
    shown = lambda selector: browser.run(f"[...document.querySelectorAll('{selector}')].filter((one) => one.getClientRects().length > 0).length")
    browser.go(url)
    until(lambda: browser.run("document.documentElement.classList.contains('js')"), "the script of the page")
    browser.run(f"void document.querySelector('{MINUTES}').scrollIntoView({{ block: 'center' }})")
    # One of the two ways to draw the minutes is shown, and the other when it is asked for.
    until(lambda: shown(f"{MINUTES} .variant") == 1, "one variant")
    assert "80 in all" in text(f"{MINUTES} .variant.chosen"), text(f"{MINUTES} .variant.chosen")
    browser.click(f"{MINUTES} [data-choose='1']")
    until(lambda: "mean 13.33/min" in text(f"{MINUTES} .variant.chosen"), "the minutes over their mean")
    # The values of a curve, by keyboard.
    tip = lambda: browser.run("document.getElementById('tip').hidden ? '' : document.getElementById('tip').textContent")
    browser.run(f"void document.querySelector('{DIFFERENCES} .chart').focus()")
    browser.press("ArrowRight")
    until(lambda: "original" in tip(), "the tooltip of a difference")
    # A hostile name of a dataset is text.
    assert browser.run("document.querySelectorAll('script').length") == 1
    assert not browser.run("window.stolen || false")
    quiet(browser, url)


def main():
    with tempfile.TemporaryDirectory() as folder:
        browser = Browser(folder)
        try:
            look(browser, pathlib.Path(sys.argv[1]).resolve().as_uri())
        finally:
            browser.close()


if __name__ == "__main__":
    main()
