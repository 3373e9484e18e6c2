"""The page needs nobody but its server. That no request goes elsewhere is looked at in every test of this folder."""

import re

import httpx2
import pytest
from playwright.sync_api import expect

POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "font-src": "'self'",
    "connect-src": "'self'",
    "manifest-src": "'self'",
    "base-uri": "'self'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}


@pytest.mark.parametrize("path", ["/", "/runs", "/nowhere/at/all", "/index.html"])
def test_the_rules_of_security_are_strict(scene, path):
    said = httpx2.get(scene.url + path).headers["content-security-policy"]
    assert dict(rule.strip().split(" ", 1) for rule in said.split(";") if rule.strip()) == POLICY


def test_the_browser_keeps_to_the_rules(scene, open_page, excused):
    excused += ["Content Security Policy", "violates the following", "Refused to"]
    page = open_page(scene, "/runs")
    tried = page.evaluate(
        """async () => {
            const script = document.createElement('script');
            script.textContent = 'window.injected = true';
            document.head.append(script);
            const asked = await fetch('https://tidemill.invalid/').then(() => 'answered', (error) => error.name);
            return [window.injected ?? false, asked];
        }"""
    )
    assert tried == [False, "TypeError"]


def test_what_was_opened_works_on_without_the_network(scene, open_page):
    """Nothing of the page is kept elsewhere: every file that it names is the server's own."""
    page = open_page(scene, "/runs")
    expect(page.get_by_role("row").nth(1)).to_be_visible()
    loaded = page.evaluate("performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert loaded
    assert [address for address in loaded if not address.startswith(f"{scene.url}/")] == []


def test_the_files_name_no_other_server(built):
    # Names of namespaces, and of pages that say more about an error, are not asked for.
    known = re.compile(r"https?://(www\.w3\.org/|svelte\.dev/e/|localhost|127\.0\.0\.1)")
    for file in built.rglob("*.*"):
        if file.suffix in (".js", ".css", ".html"):
            text = file.read_text(encoding="utf-8")
            found = {text[match.start() : match.start() + 60] for match in re.finditer(r"https?://[a-z0-9]", text)}
            assert [each for each in found if not known.match(each)] == [], file.name
