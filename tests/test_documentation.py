"""The documentation names what the code can say, and each error says what to do."""

from __future__ import annotations

import ast
import copy
import re
import shlex

import pytest
from botocore.exceptions import ClientError
from invoke.parser import Parser
from invoke.program import Program

import tasks
from pipeline import errors
from pipeline.resources import change
from tests.harness.project import ROOT

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
TROUBLESHOOTING = (ROOT / "docs" / "troubleshooting.md").read_text()
SOURCES = ("causes.py", "doctor.py", "smoke.py")
NAMES = {
    name
    for source in SOURCES
    for name in re.findall(
        r"""Cause\(\s*"([^"]+)"|, "([a-z][^"]+)", _[A-Z]+\)|UserError\(\s*f?"(filter excludes[^:"]+)""",
        (ROOT / "pipeline" / source).read_text(),
    )
    for name in name
    if name
}
RAISED = ("UserError", "SettingsError", "ControlError", "Exit")
# A command, what is allowed, or an imperative that begins a clause.
ADVICE = re.compile(
    r"\b(invoke|aws) |\b(allowed|supported|defines|files|parameters|has)[\w ]*: |\b(needs?|requires|must|may have)\b|"
    r"(^|(?<=[.:;,] )|\b(or|and) )(add|ask|check|choose|correct|create|find|grant|install|kill|leave|list|name|pass|"
    r"put|raise|remove|rename|replace|restart|run|see|set|start|try|unset|wait|write)\b",
    re.IGNORECASE,
)
# Messages whose text comes from elsewhere, and why it says what to do.
FROM_ELSEWHERE = {
    "message": "tasks.py exits with the text of an error that was raised before",
    "str(cause)": "a Cause ends with a line `try:`",
    "cause": "the same",
    "causes.of_failure(trial.d, trial.parts, invocation)": "the same",
    "len(found)": "doctor prints each Cause before",
    "'\\n'.join(problems)": "each value of a setting that is refused is listed with what is allowed",
    "advice": "each module in pipeline/resources/ says what to do instead of the change",
    "report.generate_report()": "botocore names the parameter and its valid types",
}


def fixed_text(node: ast.expr, assigned: dict[str, str]) -> str:
    """The text of a message, with the fixed text of the variables in it; {...} for the rest."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(fixed_text(each, assigned) for each in node.values)
    if isinstance(node, ast.BinOp):
        return fixed_text(node.left, assigned) + fixed_text(node.right, assigned)
    if isinstance(node, ast.FormattedValue):
        return fixed_text(node.value, assigned)
    if isinstance(node, ast.IfExp):
        return fixed_text(node.body, assigned) + fixed_text(node.orelse, assigned)
    source = ast.unparse(node)
    return assigned.get(source, f"{{{source}}}")


def assigned_texts(function: ast.AST) -> dict[str, str]:
    """The texts that a function assigns to its variables."""
    texts: dict[str, str] = {}
    for node in ast.walk(function):
        if isinstance(node, (ast.Assign, ast.AugAssign)):
            target = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
            texts[target] = texts.get(target, "") + fixed_text(node.value, {})
    return texts


def messages() -> dict[str, str]:
    """Every message that the code raises, by its place."""
    found = {}
    for path in (ROOT / "tasks.py", ROOT / "localaws" / "control.py", *sorted((ROOT / "pipeline").rglob("*.py"))):
        for function in ast.walk(ast.parse(path.read_text())):
            if not isinstance(function, ast.FunctionDef):
                continue
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in RAISED:
                    whole = isinstance(node.args[0], ast.Name)
                    text = fixed_text(node.args[0], {} if whole else assigned_texts(function))
                    found[f"{path.relative_to(ROOT)}:{function.name}: {text[:40]}"] = text
    return found


MESSAGES = messages()


@pytest.mark.parametrize("name", sorted(NAMES))
def test_troubleshooting_explains_each_cause(name: str) -> None:
    assert f"`{name}`" in TROUBLESHOOTING


@pytest.mark.parametrize("name", sorted(NAMES))
def test_an_end_to_end_test_produces_each_cause(name: str) -> None:
    assert any(name in (ROOT / "tests" / file).read_text() for file in ("test_causes.py", "test_smoke.py"))


@pytest.mark.parametrize("place", MESSAGES)
def test_error_says_what_to_do_or_is_on_the_troubleshooting_page(place: str) -> None:
    text = MESSAGES[place]
    beginning = text.partition("{")[0].strip()
    explained = beginning and beginning in TROUBLESHOOTING
    assert ADVICE.search(text) or explained or FROM_ELSEWHERE.keys() & set(re.findall(r"{(.*?)}", text)), text


@pytest.mark.parametrize(
    ("code", "text"), re.findall(r"^\| `(\w+): ([^`]+)`[^|]* \|.*\| Waits\.", TROUBLESHOOTING, re.MULTILINE)
)
def test_tasks_wait_for_what_troubleshooting_says(code: str, text: str) -> None:
    error = ClientError({"Error": {"Code": code, "Message": text}}, "AnyCall")
    assert change.is_not_yet(error) or change.is_not_yet(error, change._ROLE_NOT_READY)


@pytest.mark.parametrize("code", sorted(set(re.findall(r"[A-Z]\w{9,}", "|".join(errors._HINTS)))))
def test_troubleshooting_explains_each_error_that_has_advice(code: str) -> None:
    assert code in TROUBLESHOOTING


SHOWN = [
    (page.name, command, line)
    for page in PAGES
    for command, lines in re.findall(r"<!-- output of: (.+?) -->\n```text\n((?:\$ .*\n)+)", page.read_text())
    for line in lines.splitlines()
]


@pytest.mark.parametrize(("page", "command", "line"), SHOWN)
def test_a_command_that_a_page_shows_above_an_output_is_the_one_that_ran(page: str, command: str, line: str) -> None:
    assert line.removeprefix("$ ") in command, page


INLINE = sorted(
    {
        (page.name, text)
        for page in PAGES
        for text in re.findall(r"`(?:[A-Z_]+=\S* )*invoke ([^`|<>]+)[^`]*`", page.read_text())
        if not re.search(r"\b(TASK|FILE)\b|-c |^--help", text)
    }
)


@pytest.mark.parametrize(("page", "words"), INLINE)
def test_commands_in_the_text_of_a_page_have_existing_tasks_and_flags(page: str, words: str) -> None:
    contexts = copy.deepcopy(tasks.namespace).to_contexts()  # which takes the help from its tasks
    parser = Parser(contexts=contexts, initial=Program().initial_context)
    parsed = parser.parse_argv(shlex.split(words))
    assert len(parsed) > 1 or "--list" in words, page
