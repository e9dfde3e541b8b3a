from jsonschema import Draft202012Validator

from geotoken.serve.openapi import ERRORS, locate_description
from geotoken.serve.schemas import ErrorReply, LocateReply, LocateRequest, Options


def content(kind: str):
    return locate_description(Options)["openapi_extra"]["requestBody"]["content"][kind]


def test_a_form_has_photos_and_every_option():
    schema = content("multipart/form-data")["schema"]
    assert schema["properties"].keys() == {"photos", "options"} | Options.model_fields.keys()
    assert schema["required"] == ["photos"]
    Draft202012Validator.check_schema(schema)


def test_the_example_is_a_request():
    LocateRequest.model_validate(content("application/json")["example"])


def test_the_example_of_a_reply_is_one():
    reply = locate_description(Options)["responses"][200]["content"]["application/json"]["example"]
    LocateReply.model_validate(reply)


def test_the_examples_of_errors_have_the_one_shape():
    for reply in ERRORS.values():
        ErrorReply.model_validate(reply["content"]["application/json"]["example"])
