from pathlib import Path

import pytest

from shared.errors import InvalidConfigError
from shared.settings import load

BUS = "Endpoint=sb://bus.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey=hunter2="
APP = {
    "SqlServer": "sqlserver://sa:hunter2@sql1.contoso.com:1433?database=TestDB",
    "ServiceBus": BUS,
    "AzureWebJobsStorage": "UseDevelopmentStorage=true",
}


class Files:
    """Loads texts as configuration files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, text: str, name: str = "sluice.hcl") -> Path:
        path = self._folder / name
        path.write_text(text)
        return path

    def load(self, text: str, environ: dict[str, str] = APP):
        return load(self.write(text), environ)

    def problems(self, text: str, environ: dict[str, str] = APP) -> list[str]:
        """Return what is wrong, each without its folder; no secret is among it."""
        with pytest.raises(InvalidConfigError) as raised:
            self.load(text, environ)
        said = [str(problem) for problem in raised.value.problems]
        assert "hunter2" not in "".join([*said, str(raised.value), repr(raised.value), repr(raised.value.problems)])
        assert raised.value.__cause__ is None or "hunter2" not in str(raised.value.__cause__)
        return [line.replace(f"{self._folder}/", "") for line in said]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def app() -> dict[str, str]:
    return dict(APP)
