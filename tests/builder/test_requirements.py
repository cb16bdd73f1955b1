"""What a requirements file may say, row by row."""

import pytest

from api.errors import InvalidInput
from builder.requirements import lock_digest, parse, read


@pytest.mark.parametrize(
    "line",
    [
        "requests",
        "requests>=2.32,<3",
        "requests[socks] ~= 2.32",
        "numpy==2.1.*",
        "tomli>=2; python_version < '3.11'",
        "idna==3.10 --hash=sha256:946d195a0d259cbba61165e88e65941f16e9b36ea6ddb97f00452bae8b1287d3",
    ],
)
def test_plain_requirements_are_taken(line):
    assert parse(line) == (line,)


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("-e git+ssh://git@host/x", "E181", "option -e"),
        ("-e.", "E181", "refused"),
        ("--index-url http://index.example", "E181", "--index-url"),
        ("--extra-index-url=http://index.example", "E181", "--extra-index-url"),
        ("-r /etc/passwd", "E181", "option -r"),
        ("requests --global-option=x", "E182", "requests"),
        ("file:///etc", "E182", "URL or path"),
        ("./wheels/x.whl", "E182", "URL or path"),
        ("requests @ https://host/x.whl", "E182", "URL or path"),
        ("git+https://host/x", "E182", "URL or path"),
        ("functions-framework==3.8", "E182", "brings its own functions_framework"),
        ("Functions_Framework", "E182", "brings its own"),
        ("requests latest", "E182", "not a version"),
        ("requests; python_version > '3' --hash=x --pre", "E181", "option"),
    ],
)
def test_refused_lines_say_why(line, code, words):
    with pytest.raises(InvalidInput) as caught:
        parse(f"idna\n{line}\n")

    (problem,) = caught.value.problems
    assert (problem.code, problem.line) == (code, 2)
    assert words in problem.message


def test_every_problem_is_reported():
    with pytest.raises(InvalidInput) as caught:
        parse("-r a\n# comment\n-e b\n")

    assert [problem.line for problem in caught.value.problems] == [1, 3]


def test_comments_continuations_and_order_do_not_count(tmp_path):
    text = "\n# all\nrequests>=2  # pinned later\nidna \\\n  >=3\n"
    (tmp_path / "requirements.txt").write_text(text)

    assert read(tmp_path) == ("idna >=3", "requests>=2")
    assert lock_digest(read(tmp_path), "3.11") == lock_digest(parse("idna   >=3\nrequests>=2"), "3.11")
    assert lock_digest(read(tmp_path), "3.12") != lock_digest(read(tmp_path), "3.11")
    assert read(tmp_path / "absent") == ()


def test_other_encodings_are_named(tmp_path):
    (tmp_path / "requirements.txt").write_bytes(b"\xff\xfe\x00")

    with pytest.raises(InvalidInput, match="UTF-8"):
        read(tmp_path)
