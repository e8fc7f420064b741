"""docs/configuration.md names every setting with its default, and its example is one."""

import re
import tomllib
from pathlib import Path

from steelyard.config import Settings, resolve

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", PAGE, re.MULTILINE))


def test_every_setting_is_there_and_no_other():
    assert set(ROWS) == set(Settings.model_fields)


def test_the_defaults_are_those_of_the_code():
    for key, cell in ROWS.items():
        if key == "data":
            continue
        if cell == "none":
            assert getattr(resolve({}, {}).settings, key) is None, key
            continue
        written = tomllib.loads(f"x = {cell.strip('`')}")["x"]
        assert getattr(resolve({key: written}, {}).settings, key) == getattr(resolve({}, {}).settings, key), (
            key
        )


def test_every_setting_describes_itself():
    assert all(field.description for field in Settings.model_fields.values())


def test_the_example_is_a_file(tmp_path):
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    file = tmp_path / "steelyard.toml"
    file.write_text(example)
    resolved = resolve({"grpc_address": "[::1]:8001"}, {"STEELYARD_THREADS": "4"}, file)
    assert resolved.settings.threads == 4
    assert [str(address) for address in resolved.settings.grpc_address] == ["[::1]:8001"]
    assert resolved.settings.profile == "production"
