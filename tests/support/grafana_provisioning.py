"""The form of Grafana's provisioning, as far as `deploy/grafana/` uses it."""

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from deploy.grafana.build import DATASOURCE


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel)


class _Json(_Part):
    http_method: Literal["POST", "GET"]
    time_interval: Annotated[str, Field(pattern=r"^\d+s$")]


class _Source(_Part):
    name: str
    uid: Annotated[str, Field(pattern=f"^{DATASOURCE['uid']}$")]
    type: Literal["prometheus"]
    access: Literal["proxy"]
    url: Annotated[str, Field(pattern=r"^(\$[A-Z_]+|https?://.+)$")]
    is_default: bool
    editable: bool
    json_data: _Json


class _Options(_Part):
    path: Annotated[str, Field(pattern="^/")]


class _Provider(_Part):
    name: str
    type: Literal["file"]
    folder: str
    disable_deletion: bool
    allow_ui_updates: bool
    update_interval_seconds: Annotated[int, Field(gt=0)]
    options: _Options


class _Sources(_Part):
    api_version: Literal[1]
    datasources: list[_Source]


class _Providers(_Part):
    api_version: Literal[1]
    providers: list[_Provider]


def faults_of(path: Path) -> list[str]:
    """Return what is wrong with a file: its name, the place, the value and what would be right."""
    model = {"prometheus.yaml": _Sources, "quota-service.yaml": _Providers}[path.name]
    try:
        model.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        return [
            f"{path.name}: {'.'.join(map(str, each['loc']))}: {each['input']!r}: {each['msg']}"
            for each in error.errors()
        ]
    return []
