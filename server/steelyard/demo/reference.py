"""What the `magika` package itself says of the files, by its model's own label."""

from collections.abc import Callable, Sequence

from steelyard.demo.questions import Question


class Reference:
    """The package, asked about files.

    Its labels here are those that the model gives, before the package's rules overrule it: what is served is the
    model.
    """

    def __init__(self) -> None:
        from magika import Magika

        self._magika = Magika()

    def labels(self, questions: Sequence[Question], advance: Callable[[], None]) -> list[str]:
        """The label of each file, asked about by itself; `advance` after each."""
        labels = []
        for question in questions:
            labels.append(str(self._magika.identify_bytes(question.file.content).dl.label))
            advance()
        return labels

    def confirmed(
        self, questions: Sequence[Question], expected: Sequence[str], came: Sequence[str]
    ) -> list[str]:
        """`expected`, but `came` where that is what the package says of the file in company."""
        labels = list(expected)
        for index, question in enumerate(questions):
            if expected[index] != came[index]:
                other = questions[index - 1]
                if self.label_in_company(question, other) == came[index]:
                    labels[index] = came[index]
        return labels

    def label_in_company(self, question: Question, other: Question) -> str:
        """The label of a file that is asked about together with another one.

        The model adds up a batch of one in another order than the rows of a larger one, and its probabilities move
        by up to 0.005 for that: in a near tie, the package has two answers, and a server that batches has either.
        """
        results = self._magika.identify_paths([question.file.path, other.file.path])
        return str(results[0].dl.label)
