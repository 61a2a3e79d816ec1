import pytest

from local.host.routes import Route


@pytest.mark.parametrize(
    ("template", "path", "parameters"),
    [
        ("orders", "orders", {}),
        ("orders", "ORDERS", {}),
        ("orders", "order", None),
        ("orders/{id}", "orders/a b", {"id": "a b"}),
        ("orders/{id}", "orders", None),
        ("orders/{id}", "orders/1/2", None),
        ("orders/{id?}", "orders", {}),
        ("orders/{id:int?}", "orders/7", {"id": "7"}),
        ("orders/{id:int}", "orders/-7", {"id": "-7"}),
        ("orders/{id:int}", "orders/x", None),
        ("{id:guid}", "0f8fad5b-d9cb-469f-a165-70867728950e", {"id": "0f8fad5b-d9cb-469f-a165-70867728950e"}),
        ("{id:guid}", "0f8fad5b", None),
        ("{on:bool}", "TRUE", {"on": "TRUE"}),
        ("{name:alpha:minlength(3)}", "ab", None),
        ("{name:alpha:minlength(3)}", "abc", {"name": "abc"}),
        ("{name:length(2,3)}", "abcd", None),
        ("{name:maxlength(2)}", "ab", {"name": "ab"}),
        ("{x:double}", "1.5e3", {"x": "1.5e3"}),
        ("{x:decimal}", "1.5e3", None),
        (r"{code:regex(^\d{3}$)}", "123", {"code": "123"}),
        (r"{code:regex(^\d{3}$)}", "1234", None),
        ("files/{*rest}", "files/a/b", {"rest": "a/b"}),
        ("files/{*rest}", "files", {}),
        ("a.b", "axb", None),
        ("", "", {}),
    ],
)
def test_a_template_matches_as_in_asp_net(template, path, parameters):
    assert Route.parse(template).match(path) == parameters


@pytest.mark.parametrize("template", ["a{b}c", "{id=5}", "{id:nope}", "{*rest}/more", "{a?}/b", "{unclosed"])
def test_what_is_not_supported_is_refused(template):
    with pytest.raises(ValueError, match="route"):
        Route.parse(template)


def test_literals_come_before_constrained_before_free_parameters_before_the_rest():
    templates = ["{*all}", "a/{x}", "a/b", "a/{x:int}"]
    assert sorted(templates, key=lambda each: Route.parse(each).rank) == ["a/b", "a/{x:int}", "a/{x}", "{*all}"]
