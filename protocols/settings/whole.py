"""All sections together, and what has to hold between them."""

from typing import Any, Self, cast

from pydantic import model_validator

from protocols.settings.publishing import EvaluateSettings, GateSettings, PublishSettings
from protocols.settings.refining import (
    ConsensusSettings,
    CritiqueSettings,
    CurateSettings,
    DecideSettings,
    GenerateSettings,
    JudgeSettings,
)
from protocols.settings.run import ModelSettings, RunSettings, TasksSettings
from protocols.settings.sandbox import SandboxSettings
from protocols.settings.section import MANAGED, Section
from protocols.settings.serving import EndpointSettings, ServerSettings
from protocols.settings.training import TrainSettings

_PLAIN = ("correct_only", "references")
"""Values of `curate.answers` for which there is nothing to judge or to criticise."""
_OFF: dict[str, dict[str, Any]] = {
    "consensus": {"use": "off"},
    "judge": {"mode": "off"},
    "critique": {"per_task": 0},
}
"""What a section that is "off" stands for."""


def _off(section: Any, name: str) -> dict[str, Any]:
    rest = cast(dict[str, Any], section) if isinstance(section, dict) else {}
    return rest | _OFF[name]


class Settings(Section):
    """Everything that decides what a run does; `consensus`, `judge` and `critique` may be "off", each as a whole."""

    run: RunSettings
    model: ModelSettings = ModelSettings()
    tasks: TasksSettings = TasksSettings()
    endpoints: tuple[EndpointSettings, ...] = (
        EndpointSettings(name="local", url=MANAGED, roles=("policy", "judge", "critic")),
    )
    server: ServerSettings = ServerSettings()
    generate: GenerateSettings = GenerateSettings()
    sandbox: SandboxSettings = SandboxSettings()
    consensus: ConsensusSettings = ConsensusSettings()
    judge: JudgeSettings = JudgeSettings()
    decide: DecideSettings = DecideSettings()
    critique: CritiqueSettings = CritiqueSettings()
    curate: CurateSettings = CurateSettings()
    train: TrainSettings = TrainSettings()
    gate: GateSettings = GateSettings()
    publish: PublishSettings = PublishSettings()
    evaluate: EvaluateSettings = EvaluateSettings()

    @model_validator(mode="before")
    @classmethod
    def _left_out(cls, data: Any) -> Any:
        """Read `judge = "off"` and the like as the values that they stand for."""
        if not isinstance(data, dict):
            return data
        given = cast(dict[str, Any], data)
        curate = given.get("curate")
        plain = isinstance(curate, dict) and cast(dict[str, Any], curate).get("answers") in _PLAIN
        return given | {name: _off(given.get(name), name) for name in _OFF if plain or given.get(name) == "off"}

    @model_validator(mode="after")
    def _every_role_has_an_endpoint(self) -> Self:
        needed = {"policy": True, "judge": self.judge.mode != "off", "critic": self.critique.per_task > 0}
        for role, is_needed in needed.items():
            if is_needed and not any(role in endpoint.roles for endpoint in self.endpoints):
                raise ValueError(f"no endpoint has the role {role!r}; give it to one of [[endpoints]]")
        names = [endpoint.name for endpoint in self.endpoints]
        if len(set(names)) != len(names):
            raise ValueError(f"endpoint names must differ, got {names}")
        managed = [endpoint.name for endpoint in self.endpoints if endpoint.url == MANAGED]
        if len(managed) > 1:
            raise ValueError(f"one endpoint may be managed, with all the roles it has; {', '.join(managed)} are")
        return self
