"""One way to serve a model, and which ways there are to try."""

from dataclasses import dataclass, replace

from steelyard.models.manifest import Serving

SPINNING = "session.intra_op.allow_spinning"

# All shapes are loaded at once, so that they can be asked in turn, and each takes the model's memory once more: these
# steps from one thread inside a run to all of them keep them at no more.
MAX_SHAPES = 12

# Sizes that batches are limited to. What lies between is for the batcher, which goes by measured cost.
BATCHES = (1, 4, 16, 64)
DELAYS_US = (0, 500, 2000)

# A delay is at most this share of the p99 that is asked for: each request may wait for it before it runs.
DELAY_SHARE = 0.25


@dataclass(frozen=True, slots=True, order=True)
class Candidate:
    """What `[serving]` says of it."""

    instances: int
    threads: int
    max_batch: int
    max_queue_delay_us: int
    spinning: bool
    """Whether threads inside a run wait for work busily."""
    optimization: str

    def __str__(self) -> str:
        text = f"{self.instances} x {self.threads}, batch {self.max_batch}"
        if self.max_queue_delay_us:
            text += f", delay {self.max_queue_delay_us} us"
        if self.spinning:
            text += ", spinning"
        return text if self.optimization == "all" else f"{text}, {self.optimization}"


def current(serving: Serving, threads: int) -> Candidate:
    """What a server with `threads` threads does with this manifest now."""
    inside = min(serving.threads or 1, threads)
    return Candidate(
        serving.instances or max(1, threads // inside),
        inside,
        serving.max_batch,
        serving.max_queue_delay_us,
        inside > 1 and serving.session_options.extra.get(SPINNING) == "1",
        serving.session_options.graph_optimization,
    )


def shapes(base: Candidate, threads: int) -> list[Candidate]:
    """`base` first, and it with every other division of `threads` into instances and threads inside a run."""
    step = 2 if threads <= 8 else 4 if threads <= 256 else 8
    sizes, size = [], 1
    while size < threads:
        sizes.append(size)
        size *= step
    found = [base]
    for inside in (*sizes, threads):
        all_of_it = replace(base, instances=max(1, threads // inside), threads=inside, spinning=False)
        # With one thread, half of the instances leave cores to whatever else there is; with more, spinning may pay.
        other = {"instances": max(1, threads // 2)} if inside == 1 else {"spinning": True}
        found += [all_of_it, replace(all_of_it, **other)]
    return list(dict.fromkeys(found))


def variants(best: Candidate, batched: bool, preferred: int, p99_ms: float) -> list[Candidate]:
    """`best` with one thing changed that is no matter of instances and threads.

    preferred: the largest batch size that the manifest prefers, below which max_batch may not be; 0: none.
    """
    found: list[Candidate] = []
    if batched:
        found += [replace(best, max_batch=size) for size in BATCHES if size >= preferred]
        if best.max_batch > 1:
            longest_us = p99_ms * 1000 * DELAY_SHARE
            found += [replace(best, max_queue_delay_us=us) for us in DELAYS_US if us <= longest_us]
    found += [replace(best, optimization=level) for level in ("all", "extended")]
    return [one for one in dict.fromkeys(found) if one != best]


def combined(base: Candidate, better: list[Candidate]) -> Candidate:
    """`base` with all that the `better` ones changed, each of which differs in one thing; the first goes first."""
    changed = base
    for one in reversed(better):
        for name in ("max_batch", "max_queue_delay_us", "optimization"):
            if getattr(one, name) != getattr(base, name):
                changed = replace(changed, **{name: getattr(one, name)})
    return replace(changed, max_queue_delay_us=0) if changed.max_batch == 1 else changed
