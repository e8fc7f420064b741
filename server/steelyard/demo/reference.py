"""What the `magika` package itself says of the files, by its model's own label."""

from collections.abc import Callable, Sequence

from steelyard.demo.questions import Question


def reference_labels(questions: Sequence[Question], advance: Callable[[], None]) -> list[str]:
    """The label of each file, "undefined" where the package does not ask its model; `advance` after each.

    It is the label that the model gives, before the package's own rules overrule it: what is served is the model.
    """
    from magika import Magika

    magika = Magika()
    labels = []
    for question in questions:
        # One at a time: a large batch is slower on CPUs.
        labels.append(str(magika.identify_bytes(question.file.content).dl.label))
        advance()
    return labels
