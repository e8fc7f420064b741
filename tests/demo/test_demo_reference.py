"""What counts as the same answer as the package's."""

from pathlib import Path

from steelyard.demo.corpus import FoundFile
from steelyard.demo.features import FeatureSpec
from steelyard.demo.questions import choose
from steelyard.demo.reference import Reference

FILES = sorted(Path(__file__).parent.glob("*.py"))


def questions():
    files = [FoundFile(str(path), path.read_bytes()) for path in FILES]
    return choose(files, FeatureSpec.packaged(), 100).asked


def test_labels_alone_and_in_company():
    asked = questions()
    reference = Reference()
    advanced = []
    labels = reference.labels(asked, lambda: advanced.append(1))
    assert labels == ["python"] * len(asked)
    assert len(advanced) == len(asked)
    assert reference.label_in_company(asked[0], asked[1]) == "python"


def test_a_wrong_answer_is_not_confirmed():
    asked = questions()[:3]
    expected = ["python"] * 3
    assert Reference().confirmed(asked, expected, ["python", "perl", "python"]) == expected


class TwoMinded(Reference):
    """Says "perl" of every file in company, and notes which it was asked about."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def label_in_company(self, question, other):
        self.asked.append((question.file.path, other.file.path))
        return "perl"


def test_only_files_that_differ_are_asked_about_again():
    asked = questions()[:3]
    reference = TwoMinded()
    came = ["python", "perl", "ruby"]
    assert reference.confirmed(asked, ["python"] * 3, came) == ["python", "perl", "python"]
    paths = [question.file.path for question in asked]
    assert reference.asked == [(paths[1], paths[0]), (paths[2], paths[1])]
