"""What the docs say exists: commands, options, files, keys, metrics, limits; what they show can be loaded and run."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from pydantic import BaseModel

from controller.intent.intent import read_intent
from scenarios import cli
from scenarios.commands.check import ASSUMED
from scenarios.run.vpcs import check_intent
from scenarios.spec.load_scenario import LIBRARY, load_scenario
from scenarios.spec.scenario import Flap, LinkEvent, Phase, RankEvent, Scenario, Scheduled, ShareChange, SwitchEvent
from scenarios.study.load import SUFFIX, load_study
from scenarios.study.spec import Design, MetricChoice, Quick, Study
from scenarios.study.statistics import MIN_PAIRS
from scenarios.validation.names import ALL_DROPS
from scenarios.validation.spec import CheckSpec
from topologies.model.errors import LabError
from topologies.model.expansion import expand
from topologies.model.explain import keys_of
from topologies.model.load import CATALOG, load_fabric, ready_files
from topologies.model.spec import BorderSpec, ClassSpec, FabricSpec, LinkOverride, ScaleSpec, TcpSpec
from traffic.workloads.agent_specs import AgentSpec, ToolSpec
from traffic.workloads.kinds.registry import KINDS
from traffic.workloads.specs import AcceleratorSpec, GpuSpec, ModelSpec, StoreSpec

ROOT = Path(__file__).parents[2]
DOCS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")),
        *sorted((ROOT / "scenarios/workshops").glob("*/README.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
FILE = re.compile(r"`((?:topologies|controller|traffic|scenarios|tests|docs)/[\w./-]+)`")
PLACEHOLDER = re.compile(r"/(NAME|NNN)\b")
KNOWN = ("vagrant", "ln", "git", "cd", "mkdir")        # commands of others that the docs may show
COMMAND = typer.main.get_command(cli.app)
Block = tuple[str, str]     # where it stands, its text


def blocks(language: str) -> list[Block]:
    """Every fenced block of a language, over all documents."""
    return [(f"{path.relative_to(ROOT)}:{path.read_text()[:m.start()].count(chr(10)) + 1}", m[2])
            for path in DOCS for m in FENCE.finditer(path.read_text()) if m[1] == language]


def prose(path: Path) -> str:
    """A document without its fenced blocks."""
    return FENCE.sub("", path.read_text())


def shell_lines(text: str) -> Iterator[list[str]]:
    """Words of each command, without comments and sudo."""
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        if words:
            yield words[1:] if words[0] == "sudo" else words


def parsed(words: list[str]) -> tuple[str, dict[str, Any]]:
    """A command of aifab and its parameters, as the command line itself reads them. Raises on wrong usage."""
    context = COMMAND.make_context("aifab", words[1:])
    name, command, rest = COMMAND.resolve_command(context, words[1:])       # type: ignore[attr-defined]
    return name, command.make_context(name, list(rest), parent=context).params


def own_files(where: str, folder: Path) -> None:
    """The reader's own files: a document shows each whole, with its name in the first line, as in `# my-racks.yml`."""
    document = ROOT / where.partition(":")[0]
    for language, text in FENCE.findall(document.read_text()):
        if language == "yaml" and (name := re.match(r"# ([\w.-]+\.yml)\n", text)):
            (folder / name[1]).write_text(text)
    (folder / "trace").symlink_to(LIBRARY / "data/dlrm-small")      # the reader's own trace, in the same format


def names_of(words: list[str], own: Path = ROOT) -> None:
    """Load what a command names: a scenario, a fabric, with its options. Raises LabError if it is not there.

    own: the directory of the reader's own files.
    """
    name, params = parsed(words)
    settings = params.get("settings") or []
    if name == "run":
        mine = own / params["scenario"]
        load_scenario(str(mine) if mine.is_file() else params["scenario"], settings)
    elif name == "compare":
        load_study(params["study"], settings, quick=params["quick"])
    elif name in ("up", "cli"):
        load_fabric(params["fabric"], settings)
    elif name == "check":
        for file in params["files"]:
            if file.endswith(SUFFIX):
                load_study(file, settings)
                continue
            if file == "vpcs.yml":      # the reader's own; the blocks of docs/reference/vpcs.md are read as well
                load_fabric(params["fabric"] or ASSUMED)
                continue
            mine = own / file
            is_scenario = "workloads:" in mine.read_text() if mine.is_file() else \
                (LIBRARY / f"{file}.yml").exists() or LIBRARY.name in file
            (load_scenario if is_scenario else load_fabric)(str(mine) if mine.is_file() else file, settings)
    elif name in ("exec", "capture", "replay"):
        fabric = load_scenario("allreduce").fabric
        assert fabric.name == "small"


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize(("where", "text"), [pytest.param(*b, id=b[0]) for b in blocks("sh")])
def test_every_command_in_the_docs_exists_with_its_options_and_names(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, text: str) -> None:
    monkeypatch.chdir(ROOT)
    own_files(where, tmp_path)
    seen = 0
    for words in shell_lines(text):
        if words[0] == "aifab":
            names_of(words, tmp_path)
        elif words[0] == "make":
            assert words[1] in make_targets(), f"{where}: make {words[1]}"
        else:
            assert words[0] in KNOWN, f"{where}: {words[0]} is no command that we know of"
        seen += 1
    assert seen


@pytest.mark.parametrize("name", sorted(COMMAND.commands))     # type: ignore[attr-defined]
def test_every_command_has_a_help_whose_examples_can_be_typed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(ROOT)
    text = inspect.getdoc(COMMAND.commands[name].callback) or ""    # type: ignore[attr-defined]
    examples = [line.strip() for line in text.splitlines() if re.match(r"\s+(sudo )?aifab ", line)]
    assert examples, f"aifab {name} --help has no example"
    for example in examples:
        words = next(shell_lines(example))
        assert parsed(words)[0] == name
        names_of(words)


@pytest.mark.parametrize("words", [["aifab", "rum", "allreduce"], ["aifab", "run"], ["aifab", "run", "allreduce", "-x"],
                                   ["aifab", "run", "nosuch"], ["aifab", "up", "nosuch"],
                                   ["aifab", "run", "allreduce", "--set", "sise=4MB"]])
def test_a_command_that_does_not_exist_would_be_found(words: list[str]) -> None:
    with pytest.raises(Exception, match=r"(?i)no such|missing|expected"):
        names_of(words)


@pytest.mark.parametrize(("where", "text"), [pytest.param(*b, id=b[0]) for b in blocks("yaml")])
def test_every_yaml_in_the_docs_loads(tmp_path: Path, where: str, text: str) -> None:
    own_files(where, tmp_path)
    path = tmp_path / ("shown.study.yml" if "metrics:" in text else "shown.yml")
    path.write_text(text)
    if "metrics:" in text:
        assert load_study(str(path)).study.name in text
        return
    if "kind: VPC" in text:
        intent, document = read_intent(path)
        check_intent(intent, document, expand(load_fabric("border" if "kind: External" in text else "small")))
        return
    try:
        shown = load_scenario(str(path)) if "workloads:" in text else load_fabric(str(path))
    except LabError as error:
        pytest.fail(f"{where}: {error}")
    assert shown.name in text


def test_the_first_scenario_of_the_workload_guide_is_the_one_of_the_library() -> None:
    shown = [text for where, text in blocks("yaml") if where.startswith("docs/how-to/workloads.md")]
    whole = (LIBRARY / "allreduce.yml").read_text()
    assert whole.startswith(shown[0])
    assert re.match(r"(#.*\n)*validate:\n", whole.removeprefix(shown[0]))     # its checks are left out
    assert len(shown[0].splitlines()) == 12


@pytest.mark.parametrize(("where", "text"), [pytest.param(*b, id=b[0]) for b in blocks("python")])
def test_every_import_in_the_docs_works(where: str, text: str) -> None:
    for node in ast.walk(ast.parse(text, filename=where)):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module or "")
            assert [a.name for a in node.names if not hasattr(module, a.name)] == [], f"{where}: {node.module}"


def test_the_sweep_of_the_guide_to_programs_changes_the_fabric() -> None:
    base, wider = (load_scenario("allreduce", [f"fabric.oversubscription={ratio}"]).fabric for ratio in (1, 4))
    assert (base.oversubscription, wider.oversubscription) == (1, 4)


def headings(path: Path) -> set[str]:
    """Anchors as GitHub makes them of a document's headings."""
    found = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in found}


@pytest.mark.parametrize("path", [*DOCS, ROOT / "CHANGELOG.md"], ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in LINK.findall(prose(path)):
        if re.match(r"https?://", target) or target.startswith("docs/images/"):
            continue
        file, _, anchor = target.partition("#")
        led = (path.parent / file).resolve() if file else path
        assert led.exists(), f"{path.name}: {target}"
        assert not anchor or anchor in headings(led), f"{path.name}: {target} has no such heading"


def test_every_picture_exists() -> None:
    pictures = [t for t in LINK.findall(prose(ROOT / "README.md")) if t.startswith("docs/images/")]
    assert pictures
    if not (ROOT / "docs/images").is_dir():
        pytest.skip("no picture has been taken yet: docs/images does not exist")
    assert [p for p in pictures if not (ROOT / p).is_file()] == []


@pytest.mark.parametrize("path", DOCS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_file_that_is_named_exists(path: Path) -> None:
    named = [f for f in FILE.findall(prose(path)) if not PLACEHOLDER.search(f)]
    assert [f for f in named if not (ROOT / f).exists()] == []


def test_decisions_have_numbers_of_their_own_and_a_title() -> None:
    files = sorted((ROOT / "docs/decisions").glob("*.md"))
    numbers = [re.match(r"(\d{3})-[a-z0-9-]+\.md$", f.name) for f in files]
    assert all(numbers)
    assert len({m[1] for m in numbers if m}) == len(files)
    assert all(f.read_text().startswith("# ") for f in files)


# ---- what a user can write

SCENARIOS = (ROOT / "docs/reference/scenarios.md").read_text()


def table_keys(text: str) -> set[str]:
    """Everything in backticks in the first column of tables."""
    return {key for row in re.findall(r"^\| (`.+?) \|", text, re.MULTILINE) for key in re.findall(r"`([^`]+)`", row)}


def section(heading: str) -> str:
    """The part of docs/reference/scenarios.md under a heading that begins so."""
    return next(part for part in re.split(r"^## ", SCENARIOS, flags=re.MULTILINE) if part.startswith(heading))


@pytest.mark.parametrize(("heading", "folder"), [("Ready fabrics", CATALOG), ("Ready scenarios", LIBRARY)])
def test_every_ready_file_is_listed_and_every_listed_one_exists(heading: str, folder: Path) -> None:
    assert table_keys(section(heading)) == set(ready_files(folder))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_key_of_a_workload_is_explained_under_its_kind(kind: str) -> None:
    part = next((p for p in re.split(r"^## ", SCENARIOS, flags=re.MULTILINE) if f"`kind: {kind}`" in p.splitlines()[0]),
                None)
    assert part is not None, f"docs/reference/scenarios.md has no section with `kind: {kind}` in its heading"
    assert table_keys(part) == set(KINDS[kind].spec.model_fields) - {"kind"}


def test_every_key_of_scenario_event_and_fabric_is_explained() -> None:
    assert table_keys(section("A scenario")) == (
        set(keys_of(Scenario)) | set(LinkEvent.model_fields) | set(RankEvent.model_fields)
        | set(SwitchEvent.model_fields) | set(Scheduled.model_fields))
    assert table_keys(section("A fabric")) == set(FabricSpec.model_fields)


def test_every_key_of_a_check_and_every_choice_is_explained() -> None:
    text = (ROOT / "docs/reference/validation.md").read_text()
    assert table_keys(text) == set(keys_of(CheckSpec))
    words = {word for field in CheckSpec.model_fields.values() for word in choices(field.annotation)}
    assert [w for w in sorted(words | set(ALL_DROPS)) if f"`{w}`" not in text] == []


SMALL_MODELS = (Phase, Flap, ShareChange, ClassSpec, BorderSpec, TcpSpec, LinkOverride, ScaleSpec, ModelSpec, GpuSpec,
                AcceleratorSpec, StoreSpec, AgentSpec, ToolSpec)


@pytest.mark.parametrize("model", SMALL_MODELS, ids=lambda m: m.__name__)
def test_every_key_of_the_smaller_models_is_mentioned(model: type[BaseModel]) -> None:
    assert [key for key in model.model_fields if f"`{key}`" not in SCENARIOS] == []


STUDIES = (ROOT / "docs/reference/studies.md").read_text()


def test_every_key_of_a_study_is_explained() -> None:
    keys = next(part for part in re.split(r"^## ", STUDIES, flags=re.MULTILINE) if part.startswith("Keys"))
    assert set(Study.model_fields) <= table_keys(keys)
    assert [key for model in (Design, MetricChoice, Quick) for key in model.model_fields if f"`{key}" not in keys] == []
    assert f"**{MIN_PAIRS} pairs**" in STUDIES


def test_every_study_of_the_library_loads_and_is_in_the_docs() -> None:
    ready = ready_files(LIBRARY, SUFFIX)
    assert ready
    for name in ready:
        assert load_study(name).study.name == name
        assert f"`{name}`" in STUDIES


def choices(annotation: Any) -> Iterator[str]:
    """Every word that a field may take, however deep it stands in its type."""
    for inner in get_args(annotation):
        if isinstance(inner, str):
            yield inner
        else:
            yield from choices(inner)


@pytest.mark.parametrize("model", [FabricSpec, LinkEvent, SwitchEvent, *(k.spec for k in KINDS.values())],
                         ids=lambda m: m.__name__)
def test_every_choice_of_a_key_is_mentioned(model: type[BaseModel]) -> None:
    words = {word for field in model.model_fields.values() for word in choices(field.annotation)}
    assert words
    assert [w for w in sorted(words) if f"`{w}`" not in SCENARIOS and f"`kind: {w}`" not in SCENARIOS] == []
