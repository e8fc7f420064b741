"""Where default labels that nobody has set would go, as each worker says, and when all of them say the same."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from steelyard.supervisor.life import WorkerLife

Move = Mapping[str, Any]


class Agreeing:
    """Tells of a move when every worker that runs is ready for it. Where only some can load a version, it stays untold.

    `workers` gives the processes that run, `told` hears of the moves.
    """

    def __init__(
        self, workers: Callable[[], Sequence[WorkerLife]], told: Callable[[Sequence[Move]], None]
    ) -> None:
        self._workers = workers
        self._told = told
        self._moves: defaultdict[str, dict[WorkerLife, Move]] = defaultdict(dict)
        """The last that each worker said, by model."""

    def followed(self, life: WorkerLife, moves: Sequence[Move]) -> None:
        """Takes what a worker says."""
        for move in moves:
            self._moves[move["model"]][life] = move
        self._look(move["model"] for move in moves)

    def gone(self, life: WorkerLife) -> None:
        """A worker has ended; the others may agree without it."""
        models = [model for model, moves in self._moves.items() if moves.pop(life, None) is not None]
        self._look(models)

    def _look(self, models: Iterable[str]) -> None:
        lives = self._workers()
        agreed = []
        for model in models:
            moves = self._moves[model]
            said = [moves.get(life) for life in lives]
            if said and all(one is not None and one["to"] == _to(said[0]) for one in said):
                agreed.append(said[0])
        if agreed:
            self._told([move for move in agreed if move is not None])


def _to(move: Move | None) -> Any:
    return None if move is None else move["to"]
