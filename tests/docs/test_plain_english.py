"""What people read is plain English: no private or stiff words, no sentence without an end, easy enough to read.

Readability is Flesch's reading ease, 206.835 - 1.015 x words per sentence - 84.6 x syllables per word (R. Flesch,
"A new readability yardstick", 1948). Libraries for it fetch a dictionary of pronunciations; counting groups of vowels
needs none.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.test_docs import COMMAND, FENCE, ROOT

INSTEAD = {     # pattern -> what to write
    r"(is|are|was|were|be|not) told\b(?! (apart|to)\b)": "reported, shown, printed",
    r"\b(tells?|tell) (every|what|how|which|whether|that|it|its|the)\b": "shows, says, prints",
    r"\bforet(ell|old)\w*": "predict",
    r"\bmend(s|ed|ing)?\b": "fix, repair",
    r"\bbooks?\b|\bbooked\b": "accounting; counted",
    r"\bwhoever\b": "clients that, users who",
    r"\bspoil(s|t|ed|ing)?\b": "disturb; made INVALID",
    r"\basked of\b": "the interface of; comes from",
    r"\banew\b": "again; re-",
    r"\b(came|comes|come) to nothing\b": "failed",
    r"\baffair\b": "up to; matter",
    r"\b(became|becomes|become|came|comes) of (it|the|them|its|each|requests)\b": "the result of; what happens to",
    r"\bta(ke|kes|ken) (it|them|one|nothing|all|every \w+|the \w+) away\b|\btaken away\b": "remove",
    r"\bheld against\b|\bhold .{1,20} against\b": "compared with",
    r"\bspeaks? with (each|whom|the)\b": "reach, talk to",
    r"\ball the same\b": "anyway",
    r"\b(to|of) who\b": "to the user who",
    r"\bwhat is there already\b": "existing files",
    r"\bhitherto|\bthereof|\bwherein|\bforthwith|\bbeforehand\b": "a shorter word",
    r"\bno other (way )?than\b": "only",
    r"\banother \w+ than\b": "a different ... from",
}
WORDS = {re.compile(pattern, re.IGNORECASE): better for pattern, better in INSTEAD.items()}

DOCS = [p for p in (ROOT / "docs").rglob("*.md") if p.parent.name != "decisions" and p.name != "engine.md"]
LABS = sorted((ROOT / "scenarios/workshops").glob("*/*.md"))
PROSE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS), *LABS]
YAML = [p for d in ("scenarios/library", "scenarios/starters", "scenarios/workshops", "topologies/catalog")
        for p in sorted((ROOT / d).rglob("*.yml"))]
GUIDES = [ROOT / "README.md", *LABS, *(p for p in DOCS if p.name == "tutorial.md" or p.parent.name == "how-to")]
READABLE = [p for p in GUIDES if p.name == "tutorial.md" or p == ROOT / "README.md"]
LONGEST = 35        # words of a sentence in guides and help
EASE = 50.0         # "fairly difficult" ends here: what a newspaper may ask of its readers


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(text: str) -> str:
    """Markdown as it is read aloud: no code blocks, tables, pictures, link targets; a name in backticks is one word."""
    text = re.sub(r"^\|.*$|^!\[.*$|^\s*-{3,}$|^:::.*$", "", FENCE.sub("\n\n", text), flags=re.MULTILINE)
    text = re.sub(r"<!--.*?-->|\{[^}\n]*\}", "", text, flags=re.DOTALL)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"`[^`]*`", "Name", text)
    return re.sub(r"[*_]{1,2}(?=\S)|(?<=\S)[*_]{1,2}", "", text)


def sentences(text: str) -> Iterator[list[str]]:
    """Words of each sentence; a heading, a list item or a paragraph ends one too."""
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.)\s)|^#.*$", text, flags=re.MULTILINE):
        for sentence in re.split(r"(?<=[.!?:])[\"')]*\s+(?=[\"'(]?[A-Z0-9])", " ".join(block.split())):
            words = re.findall(r"[A-Za-z][A-Za-z'-]*|\d[\d.,]*", sentence)
            if len(words) > 2:
                yield words


def syllables(word: str) -> int:
    """Groups of vowels (`io` is two), but for an `e` that is not spoken. A number counts one."""
    word = word.lower().strip("'-")
    count = len(re.findall(r"[aeiouy]+", word))
    if re.search(r"[^aeiouyl]e$|[^aeiouytd]ed$|[^aeiouysxzcg]es$", word) and count > 1:
        count -= 1
    return max(count + len(re.findall(r"i[ao](?![nu])", word)), 1)


def reading_ease(text: str) -> float:
    found = list(sentences(prose(text)))
    words = [w for s in found for w in s]
    return 206.835 - 1.015 * len(words) / len(found) - 84.6 * sum(map(syllables, words)) / len(words)


def stiff(text: str) -> list[str]:
    """'was told: reported, shown' for each word of the list."""
    flat = " ".join(text.split())
    return [f"...{flat[max(m.start() - 30, 0):m.end() + 20]}...: {better}"
            for pattern, better in WORDS.items() for m in pattern.finditer(flat)]


def messages(path: Path) -> Iterator[str]:
    """Sentences in a module that are no docstrings."""
    tree = ast.parse(path.read_text())
    docs = {id(n.body[0].value) for n in ast.walk(tree)
            if isinstance(n, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
            and n.body and isinstance(n.body[0], ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


@pytest.mark.parametrize("path", [*PROSE, *YAML], ids=named)
def test_docs_labs_and_ready_files_use_plain_words(path: Path) -> None:
    text = path.read_text()
    assert stiff(prose(text) if path.suffix == ".md" else text) == []


@pytest.mark.parametrize("package", ["scenarios", "topologies", "controller", "traffic"])
def test_messages_use_plain_words(package: str) -> None:
    found = {named(path): bad for path in sorted((ROOT / package).rglob("*.py"))
             if (bad := [b for text in messages(path) for b in stiff(text)])}
    assert found == {}


def helps() -> Iterator[tuple[str, str]]:
    """Command -> its help, with those of its options, also of `aifab vpc apply`."""
    commands = dict(COMMAND.commands)       # type: ignore[attr-defined]
    for name, command in list(commands.items()):
        commands |= {f"{name} {sub}": c for sub, c in getattr(command, "commands", {}).items()}
    for name, command in sorted(commands.items()):
        text = inspect.getdoc(command.callback) or ""
        text = re.split(r"^Examples?\b", text, flags=re.MULTILINE)[0]
        yield name, "\n\n".join([text, *(p.help for p in command.params if getattr(p, "help", None))])


@pytest.mark.parametrize(("name", "text"), [pytest.param(*h, id=h[0]) for h in helps()])
def test_help_uses_plain_words_and_short_sentences(name: str, text: str) -> None:
    assert stiff(text) == []
    assert [" ".join(s) for s in sentences(prose(text)) if len(s) > LONGEST] == []


@pytest.mark.parametrize("path", GUIDES, ids=named)
def test_no_sentence_of_a_guide_is_too_long(path: Path) -> None:
    assert [" ".join(s) for s in sentences(prose(path.read_text())) if len(s) > LONGEST] == []


@pytest.mark.parametrize("path", READABLE, ids=named)
def test_readme_and_tutorial_are_easy_to_read(path: Path) -> None:
    assert reading_ease(path.read_text()) >= EASE


def test_ease_and_length_are_those_of_hand_counted_sentences() -> None:
    text = "One two three. Four `five six` [seven](x.md) eight!\n\n- nine ten eleven"
    assert [len(s) for s in sentences(prose(text))] == [3, 4, 3]
    counted = {"leaf": 1, "fabric": 2, "scenario": 4, "time": 1, "named": 1, "needed": 2, "boxes": 2, "table": 2,
               "12": 1}
    assert {word: syllables(word) for word in counted} == counted
    assert reading_ease("The cat sat on the mat. The dog ran.") == pytest.approx(206.835 - 1.015 * 4.5 - 84.6, abs=0.01)


@pytest.mark.parametrize("text", ["A mistake is told with its line.", "Whoever has not got it", "it mends the link",
                                  "What became of the run", "the file is written anew"])
def test_a_stiff_word_would_be_found(text: str) -> None:
    assert stiff(text)
