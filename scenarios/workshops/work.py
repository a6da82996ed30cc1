"""A learner's directory, read: the scenario as it is written, with the workshop's faults, and the answers.

    start.yml  ──load──────────────┐
    skeleton.py ──scenario()──load─┴─> scenario ──faults──> what is run
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from scenarios.spec.compiling import compiled, located
from scenarios.spec.load_scenario import Loaded, scenario_of
from scenarios.spec.load_scenario import read_scenario as load_with_lines
from scenarios.spec.scenario import Scenario
from scenarios.workshops.answers import Answer, read_answers
from scenarios.workshops.learner import workshop_in
from scenarios.workshops.lesson import WORKSHOPS, Lesson, Predicted, lesson_of
from scenarios.workshops.skeleton import call
from topologies.model.document import Document, Place, show
from topologies.model.errors import SpecError
from topologies.model.fabric import Fabric
from topologies.model.units import parse_rate, show_rate

SCENARIO = "scenario"           # the function of a skeleton that gives it
WORDS = ("question", "checks")  # of a scenario, which change nothing that happens


@dataclass(frozen=True)
class Work:
    """What a learner has written. written: without the workshop's faults; answers: those of answers.yml."""

    name: str
    directory: Path
    lesson: Lesson
    written: Scenario
    fabric: Fabric
    answers: dict[str, Answer]

    @property
    def file(self) -> Path:
        """The learner's file, which is run."""
        return self.directory / self.lesson.file

    @property
    def scenario(self) -> Scenario:
        """What is run: the network as it really is."""
        return self.written.model_copy(update={"events": (*self.lesson.faults, *self.written.events)})

    def changed(self) -> list[str]:
        """'fabric.spines is 8 instead of 4' for all that was to be left as the starter has it."""
        given = read_scenario(WORKSHOPS / self.name / "start" / self.lesson.file).scenario
        return list(_differences(self.written.model_dump(mode="json"), given.model_dump(mode="json"), "",
                                 (*self.lesson.free, *WORDS)))


def read_work(directory: Path) -> Work:
    """What is in a learner's directory. Raises LabError: the loader's own for a file that does not load."""
    name = workshop_in(directory)
    lesson = lesson_of(name)
    written, fabric, _ = read_scenario(directory / lesson.file)
    asked = {key: kind for key, kind in lesson.answers.items() if not isinstance(kind, Predicted)}
    return Work(name, directory, lesson, written, fabric, read_answers(directory, asked, fabric))


def read_scenario(file: Path) -> Loaded:
    """Of a YAML file, or of what a skeleton's scenario() gives, with traffic that can be made.

    Raises SpecError or SpecErrors."""
    if file.suffix != ".py":
        loaded = load_with_lines(str(file))
    else:
        (reply,) = call(file, [(SCENARIO, ())])
        if reply.error or not isinstance(reply.value, dict):
            raise SpecError(reply.where, "a scenario as a dict of what YAML can hold", reply.error or show(reply.value))
        document = Document(reply.value, {(): Place(str(file), reply.line)}, file.parent)
        loaded = scenario_of(document)
    with located(loaded.document):
        compiled(loaded.scenario, loaded.fabric)
    return loaded


def _differences(mine: object, given: object, path: str, free: Collection[str]) -> Iterator[str]:
    """Every value that differs, by its dotted path; lists are compared as a whole."""
    if path in free or mine == given:
        return
    if isinstance(mine, dict) and isinstance(given, dict):
        for key in {**given, **mine}:
            yield from _differences(mine.get(key), given.get(key), f"{path}.{key}".lstrip("."), free)
    else:
        yield f"{path} is {_shown(mine)} instead of {_shown(given)}"


def _shown(value: object) -> str:
    try:
        return show_rate(parse_rate(value))
    except ValueError:
        return show(value)
