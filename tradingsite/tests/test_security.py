"""The content policy, who may enter, and how a page looks."""

import re

import pytest

from tests import factories

pytestmark = pytest.mark.django_db

PAGES = ("/", "/agents/", "/decisions/", "/orders/", "/training/", "/backtests/", "/logs/", "/stop/")


def test_pages_allow_no_inline_script_without_the_nonce_of_the_response(client):
    client.force_login(factories.operator())
    response = client.get("/")
    policy = response["Content-Security-Policy"]
    script = re.search(r"script-src ([^;]+)", policy).group(1)
    nonce = re.search(r"'nonce-([^']+)'", script).group(1)
    assert "unsafe" not in script
    assert f'nonce="{nonce}"' in response.content.decode()
    assert "unsafe-inline" not in policy


def test_every_inline_script_carries_the_nonce_and_no_style_attribute_is_used(client):
    client.force_login(factories.operator())
    factories.desk()
    for address in PAGES:
        page = client.get(address).content.decode()
        for tag in re.findall(r"<script[^>]*>", page):
            assert "nonce=" in tag or "src=" in tag or "application/json" in tag, (address, tag)
        assert " style=" not in page, address
        assert not re.search(r"\son\w+=", page), address


def test_two_responses_never_share_a_nonce(client):
    first, second = (client.get("/login/")["Content-Security-Policy"] for _ in range(2))
    assert first != second


def test_admin_pages_may_evaluate_but_load_nothing_from_elsewhere(client):
    policy = client.get("/admin/login/")["Content-Security-Policy"]
    assert "'unsafe-eval'" in policy and "default-src 'self'" in policy and "http://" not in policy.replace("ws://", "")


@pytest.mark.parametrize(
    "address",
    [*PAGES, "/panels/stats/", "/api/chart/1"],
)
def test_nothing_is_shown_before_signing_in(client, address):
    response = client.get(address)
    assert response.status_code == 302 and response["Location"].startswith("/login/?next=")


def test_a_wrong_password_is_answered_in_words_and_the_right_one_leads_on(client):
    factories.operator()
    page = client.post("/login/?next=/logs/", {"username": "olga", "password": "no", "next": "/logs/"})
    assert "do not belong together" in page.content.decode()
    response = client.post("/login/", {"username": "olga", "password": factories.PASSWORD, "next": "/logs/"})
    assert response["Location"] == "/logs/"


def test_theme_and_colours_are_remembered_and_nonsense_is_refused(client):
    response = client.post("/appearance/", {"theme": "light", "next": "/login/"})
    assert response["Location"] == "/login/"
    assert 'data-theme="light"' in client.get("/login/").content.decode()
    assert client.post("/appearance/", {"theme": "pink"}).status_code == 400
    assert client.post("/appearance/", {"pair": "blue-orange", "next": "https://evil.example"})["Location"] == "/"


def test_an_unknown_address_has_a_page_in_style(client):
    client.force_login(factories.viewer())
    response = client.get("/nothing/here/")
    assert response.status_code == 404
    assert "There is nothing at this address" in response.content.decode()


def test_a_missing_form_token_is_explained():
    from django.test import Client

    strict = Client(enforce_csrf_checks=True)
    response = strict.post("/login/", {"username": "olga", "password": "x"})
    assert response.status_code == 403
    assert "The form was too old" in response.content.decode()
