from geotoken.serve.app import App
from geotoken.serve.settings import Settings


def test_every_route_is_described_but_those_of_the_page():
    paths = App(Settings()).api.openapi()["paths"]
    assert paths.keys() == {"/v1/locate", "/v1/models", "/v1/countries", "/healthz", "/readyz"}


def test_the_description_says_what_is_sent_and_what_comes_back():
    locate = App(Settings()).api.openapi()["paths"]["/v1/locate"]["post"]
    assert locate["requestBody"]["content"].keys() == {"multipart/form-data", "application/json"}
    assert locate["responses"].keys() == {"200", "4XX", "5XX"}
    assert "Raises" not in locate["description"]


def test_making_an_application_starts_nothing():
    made = []
    app = App(Settings(workers=2), make_worker=lambda: made.append(1))
    assert len(made) == 2
    assert app.pool.facts is None
