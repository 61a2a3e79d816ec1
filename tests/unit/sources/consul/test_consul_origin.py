from shared import naming
from shared.sources.consul.origin import metadata, properties
from shared.sources.consul.position import Place, encode

AT = encode(Place(5, 4711, 1))


def test_a_service_names_itself_and_its_datacenter():
    stream = naming.stream("consul1", "dc1", "service", "a/b")

    assert list(metadata(stream).items()) == [("Service", "a/b"), ("Datacenter", "dc1")]
    assert properties(stream, AT) == {"datacenter": "dc1", "service": "a/b", "index": 4711}


def test_a_catalog_names_its_datacenter():
    stream = naming.stream("consul1", "dc1", "catalog")

    assert metadata(stream) == {"Datacenter": "dc1"}
    assert properties(stream, AT) == {"datacenter": "dc1", "index": 4711}


def test_a_service_called_catalog_is_a_service():
    assert metadata(naming.stream("consul1", "dc1", "service", "catalog")) == {
        "Service": "catalog",
        "Datacenter": "dc1",
    }
